"""What is pickled for a job: plain data, and the exit codes by which a job tells what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.store.job import Job

LOCAL_REQUEUE = 144  # the exit code by which submitit's local controller starts a task again
TRY_AGAIN = 75  # exit code (EX_TEMPFAIL): nothing is wrong with the cell


@dataclass(frozen=True)
class Task:
    """One task of a job array: a cell; with the executor `local` a worker's list of all cells of the array.

    Attributes:
        jobs: what to run. A worker takes those that no other worker has begun.
        max_requeues: see ``slurm.profiles.Profile``.
        max_moves: see ``slurm.profiles.Profile``.
    """

    jobs: tuple[Job, ...]
    max_requeues: int
    max_moves: int
