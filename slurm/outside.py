"""What a job in a container without ``scontrol`` leaves to its batch script, which stands outside: its way into the queue.

``python -m slurm.outside FOLDER``, run by the script where the cell's process ended with ``ASK_OUTSIDE``; FOLDER holds the
pickles. Slurm, asked from there, says why the job was signalled.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from bench.store.job import Job, holds_ticket
from bench.store.liveness import current_state
from bench.store.run import Run
from slurm.job import GOES_ON, go_on_later
from slurm.stopping import job_id
from slurm.submitit_private import read_pickle
from slurm.task import Task


def main() -> None:
    """Put this job back into the queue, or write down why not."""
    task: Task = read_pickle(Path(sys.argv[1]), job_id())
    left = [job for job in task.jobs if _goes_on(job)]
    if left:
        go_on_later(task, left, signal.SIGUSR2)


def _goes_on(job: Job) -> bool:
    run = Run(Path(job.store) / job.cell_id)
    return holds_ticket(run, job) and current_state(run)["state"] in GOES_ON


if __name__ == "__main__":
    main()
