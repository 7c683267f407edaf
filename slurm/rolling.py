"""Submissions larger than the cluster lets one user queue: what fits is submitted, the rest when there is room.

MaxSubmitJobs, of a user, an account or a QOS, limits the jobs that wait and run together. The cells that don't fit keep
their place in the submission's record as a deferred array; jobs that end, ``wait`` and ``submit`` hand on what fits then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.ticket import Ticket, sound_ticket
from slurm.records import Array, Submission

# What sbatch says: AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit, AssocGrpSubmitJobsLimit and the like.
_FULL = re.compile(r"\w*(?:Max|Grp)Submit\w*Limit|MaxJobCount")

Send = Callable[[Array], None]


def over_limit(error: BaseException) -> str | None:
    """Return the limit on queued jobs that an error of sbatch names; None where it is another error."""
    found = _FULL.search(str(error))
    return found[0] if found else None


def send_what_fits(store: Path, made: Submission, number: int, send: Send) -> bool:
    """Hand the array of a submission to Slurm, or as many of its first tasks as fit; the others become a deferred array.

    Args:
        store: the run store.
        made: the submission.
        number: of the array.
        send: hands an array to Slurm and writes its id down.

    Returns:
        Whether all of it fitted; where it didn't, there is no more room.

    Raises:
        Exception: what `send` raises for another reason than a limit.
    """
    array = made.arrays[number]
    try:
        send(array)
        return True
    except Exception as error:
        why = over_limit(error)
        if why is None:
            raise
    size = array.tasks // 2
    while size:
        rest = _split(store, made, number, size)
        try:
            send(array)
        except Exception as error:
            if over_limit(error) is None:
                raise
            _join(store, made, number, rest)
            size //= 2
        else:
            number, array = rest, made.arrays[rest]
            size = min(size, array.tasks)
    if not array.cells:  # jobs ended in the meantime
        del made.arrays[number]
        made.write(store)
        return True
    array.deferred = why
    made.write(store)
    return False


def _split(store: Path, made: Submission, number: int, tasks: int) -> int:
    """Leave an array its first tasks and make another one of the rest; return that one's number."""
    array = made.arrays[number]
    count = tasks * array.pack
    base, _, _ = array.name.rpartition("-")
    rest = replace(
        array, name=f"{base}-{len(made.arrays)}", cells=array.cells[count:], tasks=array.tasks - tasks, deferred=""
    )
    array.cells, array.tasks = array.cells[:count], tasks
    made.arrays.append(rest)
    place(store, made, len(made.arrays) - 1)
    return len(made.arrays) - 1


def _join(store: Path, made: Submission, number: int, rest: int) -> None:
    array, other = made.arrays[number], made.arrays[rest]
    array.cells, array.tasks = [*array.cells, *other.cells], array.tasks + other.tasks
    del made.arrays[rest]
    place(store, made, number)


def place(store: Path, made: Submission, number: int) -> None:
    """Write a submission down, and into the tickets of an array's cells where they are in it."""
    made.write(store)
    for index, cell in enumerate(made.arrays[number].cells):
        Ticket(made.id, number, index, made.moves, made.time).write(Run(store / cell))


def still_wanted(store: Path, made: Submission, number: int) -> bool:
    """Take those cells out of a deferred array that were cancelled or submitted anew; tell whether any are left."""
    array = made.arrays[number]
    cells = [cell for cell in array.cells if _waits(Run(store / cell), made)]
    if cells != array.cells:
        array.cells, array.tasks = cells, -(-len(cells) // array.pack)
        place(store, made, number)
    return bool(cells)


def _waits(run: Run, made: Submission) -> bool:
    ticket = sound_ticket(run)
    mine = ticket is not None and ticket.submission == made.id and ticket.cancelled is None
    return mine and current_state(run)["state"] == State.QUEUED.value


def waiting(made: Submission) -> int:
    """Return the number of cells that wait for room."""
    return sum(len(array.cells) for array in made.arrays if array.deferred)
