"""The process of one of several cells that a job runs side by side, see :mod:`slurm.packed`."""

from __future__ import annotations

import os
import pickle
import signal
import sys

from bench.run.signals import Signals
from slurm.job import run_if_open
from slurm.packed import share_of
from slurm.task import Task


def main() -> None:
    """Run the cell of the task on standard input."""
    task, place, count = pickle.load(sys.stdin.buffer)  # noqa: S301 (written by the job that started this process)
    assert isinstance(task, Task)
    os.sched_setaffinity(0, share_of(list(os.sched_getaffinity(0)), place, count))
    signals = Signals()
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    with signals.listening():
        (job,) = task.jobs
        print(f"{job.cell_id}: {run_if_open(task, job, signals)}", flush=True)


if __name__ == "__main__":
    main()
