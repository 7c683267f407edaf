"""How many cells of a grid run at a time: one limit over all its arrays and submissions, by Slurm's throttles and holds.

Slurm limits the tasks of one array. Each array in the queue gets a share of the grid's limit as its throttle; those for
which nothing is left are held. The shares follow what runs and waits: whoever tends the grid deals them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm import commands
from slurm.records import Array, Submission
from slurm.view import Jobs, job_of


@dataclass
class Share:
    """What an array has in the queue, and the number of its tasks that may run.

    Attributes:
        made, array: whose.
        running, waiting: numbers of tasks.
        allowed: how many may run; 0 holds those that wait.
    """

    made: Submission
    array: Array
    running: int
    waiting: int
    allowed: int = 0


def limit(submissions: Sequence[Submission]) -> int | None:
    """Return how many cells of a grid may run at a time: what the latest of its submissions says that names a number."""
    named = [array.profile.get("parallel") for made in submissions for array in made.arrays]
    known = [value for value in named if isinstance(value, int)]
    return known[-1] if known else None


def balance(store: Path, submissions: Sequence[Submission], jobs: Jobs, ended: str | None = None) -> None:
    """Deal the grid's limit out among its arrays in the queue, by their throttles and holds.

    Args:
        store: the run store, whose submission lock is held.
        submissions: of the grid, the oldest first.
        jobs: Slurm's, by id and name.
        ended: a job whose cell has just ended although the job still runs.

    Raises:
        SlurmError: if Slurm refuses; what was changed until then is written down.
    """
    most = limit(submissions)
    if most is None:
        return
    shares = [share for share in _shares(submissions, jobs, ended) if share.waiting or share.running]
    deal(shares, max(most // max((share.array.pack for share in shares), default=1), 1))
    for share in sorted(shares, key=_takes_away, reverse=True):  # at no time are there more than allowed
        if share.waiting and not share.array.profile_holds():
            _apply(store, share)


def deal(shares: Sequence[Share], most: int) -> None:
    """Set what each array is allowed, so that no more than `most` tasks run, and equal parts where all want more."""
    wanted = {id(share): 0 for share in shares}
    left = most
    while left > 0:
        hungry = [share for share in shares if wanted[id(share)] < share.running + share.waiting]
        if not hungry:
            break
        for share in hungry[:left]:
            wanted[id(share)] += 1
        left -= min(len(hungry), left)
    room = most - sum(share.running for share in shares)
    for share in shares:
        share.allowed = min(wanted[id(share)], share.running) or min(share.running, 1)
    short = [share for share in shares if wanted[id(share)] > share.running]
    while room > 0 and short:
        for share in short[:room]:
            share.allowed += 1
        room -= min(len(short), room)
        short = [share for share in short if share.allowed < wanted[id(share)]]


def _takes_away(share: Share) -> bool:
    return share.allowed == 0 or share.allowed < (share.array.throttle or 0)


def _shares(submissions: Sequence[Submission], jobs: Jobs, ended: str | None) -> Iterator[Share]:
    for made in submissions:
        for array in made.arrays:
            if isinstance(array.job_id, str):
                names = dict.fromkeys(str(job_of(array, index)) for index in range(len(array.cells)))
                found = [jobs.get((name, array.name)) for name in names if name != ended]
                queued = [job.state for job in found if job is not None and job.in_queue and job.state != "COMPLETING"]
                waiting = queued.count("PENDING")
                yield Share(made, array, len(queued) - waiting, waiting)


def _apply(store: Path, share: Share) -> None:
    array, job = share.array, str(share.array.job_id)
    if share.allowed == 0:
        if not array.held:
            commands.ask("scontrol", "hold", job)
            array.held = True
            share.made.write(store)
        return
    if array.tasks > 1 and array.throttle != share.allowed:
        commands.ask("scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={share.allowed}")
        array.throttle = share.allowed
    if array.held:
        commands.ask("scontrol", "release", job)
        array.held = False
    share.made.write(store)
