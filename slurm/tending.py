"""What a grid's jobs need while they wait and run. ``wait`` sees to it, ``submit`` in part, and the jobs themselves.

What only Slurm saw end is recorded; a node that ends jobs before their cells begin is kept from the tasks that still wait;
cells whose job ended through no fault of theirs are submitted again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from bench.errors import BenchError
from bench.files import short_name
from bench.store import clock
from bench.store.failures import Fault
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.status import StatusRow
from bench.store.ticket import sound_ticket
from slurm import commands, records, rolling, sharing
from slurm.commands import SlurmError
from slurm.moving import try_again
from slurm.records import Array, Submission
from slurm.request import exclude_where_possible
from slurm.stopping import job_id
from slurm.submit import send
from slurm.view import Jobs, SlurmView, UnrecordedEnd, add_to_row, job_of, look, settle

SHARED_WITHIN = 60.0  # seconds that a job waits at its end for others that submit or share
ROOM_TRIES, ROOM_PAUSE = (
    4,
    3.0,
)  # how often the last job of a grid tries to hand on its place, and seconds more each time
EVERY = 120.0  # seconds after which a job looks after its grid, unless another one has


def tend(store: Path, grid: str, ended: str | None = None) -> list[str]:
    """See to the jobs of a grid, once; the store's submission lock is held.

    Args:
        store: the run store.
        grid: the grid's name.
        ended: the job that this process runs in, whose cell has ended.

    Returns:
        A line for each thing that was done.
    """
    made = [one for one in records.submissions(store) if one.grid == grid and not one.over]
    jobs, error = look(made)
    if error is not None:
        return []
    ends, lost = _ends(store, made, jobs)
    settle(store, ends)
    said = [*keep_away(store, made, jobs), *_again(store, made, lost)]
    said += roll(store, made)
    share(store, grid, ended)
    for one in made:
        if all(_is_over(array, jobs) for array in one.arrays):
            one.over = True
            one.write(store)
    return said


def share(store: Path, grid: str, ended: str | None = None) -> None:
    """Deal out anew what of a grid may run at a time, where there is a limit; arguments as for :func:`tend`."""
    made = [one for one in records.submissions(store) if one.grid == grid and not one.over]
    names = {array.name for one in made for array in one.arrays if isinstance(array.job_id, str)}
    if names and sharing.limit(made) is not None:
        with contextlib.suppress(SlurmError):  # whoever comes next tries again
            sharing.balance(store, made, commands.queue(names), ended)


def roll(store: Path, submissions: Sequence[Submission]) -> list[str]:
    """Submit what fits by now of the cells that wait for room in the queue; return what was done."""
    said = list[str]()
    for made in submissions:
        for number, array in enumerate(list(made.arrays)):
            if array.deferred and rolling.still_wanted(store, made, number):
                array.deferred = ""
        if any(array.job_id is None and array.cells and not array.deferred for array in made.arrays):
            with contextlib.suppress(BenchError):
                send(
                    store,
                    made,
                    lambda array: said.append(f"{len(array.cells)} cells that waited for room: job {array.job_id}"),
                    hold=sharing.limit([made]) is not None,
                )
    return said


def pass_on(store: Path, grid: str, ended: str) -> None:
    """Give what a job leaves whose cell has ended to cells that wait: of its grid's limit, and of room in the queue.

    Where others are at it all the time, it is left to them. The job itself still counts as queued: where all others of the
    grid are about to go as well, it tries for a while until they have gone.
    """
    for number in range(ROOM_TRIES):
        with contextlib.suppress(BenchError, OSError), records.submitting(store, SHARED_WITHIN):
            made = [one for one in records.submissions(store) if one.grid == grid and not one.over]
            said = roll(store, made)
            share(store, grid, ended)
            if said or not any(map(rolling.waiting, made)) or _others(store, made, ended):
                return
        time.sleep(number * ROOM_PAUSE)


def _others(store: Path, submissions: Sequence[Submission], ended: str) -> bool:
    """Note that a job is about to go; tell whether another one of these submissions waits, or runs and isn't about to.

    Where Slurm doesn't answer, there are others.
    """
    going = records.folder(store) / "going"
    going.mkdir(exist_ok=True)
    (going / ended).touch()
    jobs, error = look(submissions)
    return error is not None or any(job.in_queue and not (going / job.id).exists() for job in jobs.values())


def tend_if_free(store: Path, grid: str) -> list[str] | None:
    """See to the jobs of a grid; None where somebody submits, cancels, or sees to them at the moment."""
    try:
        with records.submitting(store):
            return tend(store, grid)
    except BenchError:
        return None


# -- ends and nodes ----------------------------------------------------------------------------------------------------


def _tasks(made: Submission) -> Iterator[tuple[Array, int, int, str]]:
    for number, array in enumerate(made.arrays):
        if isinstance(array.job_id, str):
            for index, cell in enumerate(array.cells):
                yield array, number, index, cell


def _ends(store: Path, submissions: Sequence[Submission], jobs: Jobs) -> tuple[list[UnrecordedEnd], set[str]]:
    """Return what only Slurm saw end, and the cells whose job ended through no fault of theirs.

    The files are read only of cells whose job didn't end well.
    """
    view, lost = SlurmView(), set[str]()
    for made in submissions:
        for array, number, index, cell in _tasks(made):
            found = jobs.get((str(job_of(array, index)), array.name))
            if found is None or found.in_queue or found.state in ("COMPLETED", "CANCELLED"):
                continue
            state = current_state(Run(store / cell))
            if (state.get("submission"), state.get("array"), state.get("index")) == (made.id, number, index):
                row: dict[str, Any] = {"id": cell, **state}
                add_to_row(store, cast(StatusRow, row), made, jobs, view)
                known = state["state"] in (State.FAILED.value, State.PREEMPTED.value)
                if known and state.get("fault") == Fault.NODE.value:  # seen before
                    lost.add(cell)
    return view.ends, lost | {end.cell for end in view.ends if end.again}


def _is_over(array: Array, jobs: Jobs) -> bool:
    if not isinstance(array.job_id, str):
        return array.job_id is not None or not array.cells
    found = [jobs.get((str(job_of(array, index)), array.name)) for index in range(len(array.cells))]
    return all(job is not None and not job.in_queue for job in found)


def keep_away(store: Path, submissions: Sequence[Submission], jobs: Jobs) -> list[str]:
    """Tell the tasks that wait to avoid nodes that fail cells, where other nodes can take them; return what was done."""
    bad, said = records.bad_nodes(records.failures(store)), list[str]()
    for made in submissions:
        for array in made.arrays:
            waiting = _waiting(array, jobs)
            if not waiting or not set(bad) - set(array.left_out):
                continue
            asked, unavoidable = exclude_where_possible(array.resources(), sorted(bad))
            if unavoidable or asked.exclude is None:
                continue
            with contextlib.suppress(SlurmError):  # a task that has just begun is refused; the others are told
                commands.ask("scontrol", "update", f"JobId={_named(array, waiting)}", f"ExcNodeList={asked.exclude}")
            array.left_out = sorted(bad)
            made.write(store)
            said.append(f"job {array.job_id}: what waits leaves out {', '.join(sorted(bad))}")
    return said


def _waiting(array: Array, jobs: Jobs) -> list[int]:
    """Return the indices of an array's tasks that wait."""
    if not isinstance(array.job_id, str):
        return []
    found = ((index, jobs.get((str(job_of(array, index)), array.name))) for index in range(len(array.cells)))
    return sorted({index // array.pack for index, job in found if job is not None and job.state == "PENDING"})


def _named(array: Array, tasks: Sequence[int]) -> str:
    return f"{array.job_id}_[{','.join(map(str, tasks))}]" if array.tasks > 1 else str(array.job_id)


def _again(store: Path, submissions: Sequence[Submission], lost: set[str]) -> list[str]:
    """Submit cells again whose job ended through no fault of theirs; return what was done."""
    said = list[str]()
    for made in submissions:
        for array in made.arrays:
            cells = [cell for cell in array.cells if cell in lost and _is_of(store, cell, made)]
            if cells and (again := try_again(store, made, array, cells)) is not None:
                number = f"{again.moves}. retry of {array.resources().retries.infrastructure}"
                said.append(f"{len(cells)} cells again as job {again.arrays[0].job_id} ({number})")
    return said


def _is_of(store: Path, cell: str, made: Submission) -> bool:
    ticket = sound_ticket(Run(store / cell))
    return ticket is not None and ticket.submission == made.id and ticket.cancelled is None


# -- in jobs -----------------------------------------------------------------------------------------------------------


@contextmanager
def tended(store: Path, grid: str) -> Iterator[None]:
    """Look after the other jobs of a grid now and then, as long as the context lasts: one job at a time does.

    What may run in the place of this job's cell is dealt out at the end.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_now_and_then, args=(store, grid, stop), name="tending", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        pass_on(store, grid, job_id())


def _now_and_then(store: Path, grid: str, stop: threading.Event) -> None:
    mark = records.folder(store) / f"tended-{short_name(grid)}"
    while not stop.wait(min(EVERY / 4, 30.0)):
        with contextlib.suppress(OSError):
            if not mark.exists() or clock.age(mark, store) >= EVERY:
                mark.touch()
                for line in tend_if_free(store, grid) or ():
                    print(line, flush=True)
