"""What is pickled for a job: plain data, and the exit codes by which a job tells what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.store.job import Job

LOCAL_REQUEUE = 144  # the exit code by which submitit's local controller starts a task again
# Exit codes of a job that is not to blame on its cell (those of sysexits.h).
NO_STORE = 74  # EX_IOERR: the store can't be written from the node
TRY_AGAIN = 75  # EX_TEMPFAIL
ASK_OUTSIDE = 77  # there is no scontrol where the cell ran: its batch script asks Slurm, see slurm.outside
WRONG_SETUP = 78  # EX_CONFIG: a set-up line of the profile failed


@dataclass(frozen=True)
class Task:
    """One task of a job array: a cell, or several that are packed; with `local` a worker's list of all cells of the array.

    Attributes:
        jobs: what to run. A worker takes those that no other worker has begun.
        max_requeues: see ``slurm.profiles.Profile``.
        retries: how often its cells are submitted again after a failure that isn't theirs.
        grace: see ``slurm.profiles.Profile``.
        grid: the grid's name.
        side_by_side: its cells run at the same time; otherwise one after the other.
        comment: name the cell in the job's comment.
    """

    jobs: tuple[Job, ...]
    max_requeues: int
    retries: int
    grace: int = 120
    grid: str = ""
    comment: bool = True
    side_by_side: bool = False
