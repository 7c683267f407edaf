"""Several cells of a job side by side in one allocation, each in a process of its own: what ends one harms no other."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from bench.run.signals import Signals
from bench.store.job import Job
from slurm.task import Task

CELL = "slurm.packed_cell"  # the module that a process runs; it reads its task from standard input
LOOKS = 0.5  # seconds between two looks at the processes


def run_side_by_side(task: Task, signals: Signals) -> list[int]:
    """Run the cells of a task at the same time, pass signals on, and return the exit codes; negative ones are signals'."""
    processes = [_start(task, job, place) for place, job in enumerate(task.jobs)]
    while any(process.poll() is None for process in processes):
        if signals.received is not None:  # again and again: one that still starts doesn't listen yet
            for process in processes:
                process.send_signal(signals.received)
        time.sleep(LOOKS)
    return [process.returncode for process in processes]


def _start(task: Task, job: Job, place: int) -> subprocess.Popen[bytes]:
    """Start a cell's process; as that of a job, it ignores USR2 until it listens (``slurm.request.python_command``)."""
    variables = {**os.environ, "BENCH_SIDE_BY_SIDE": str(len(task.jobs))}
    command = ["sh", "-c", 'trap "" USR2; exec "$@"', "sh", sys.executable, "-u", "-m", CELL]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(pickle.dumps((replace(task, jobs=(job,)), place, len(task.jobs))))
    return process


def share_of(cores: Sequence[int], place: int, count: int) -> list[int]:
    """Return the cores of one of `count` processes: equal parts, or all of them where there are fewer than processes."""
    each = len(cores) // count
    return sorted(cores)[place * each : (place + 1) * each] if each else sorted(cores)
