"""Cells whose job ended through no fault of theirs are submitted again, where possible to other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.errors import BenchError
from bench.store import clock
from bench.store.job import Job, holds_ticket
from bench.store.run import Run
from bench.store.ticket import Ticket, sound_ticket
from slurm import records
from slurm.names import job_name
from slurm.profiles import Profile
from slurm.records import Array, Submission
from slurm.request import exclude_where_possible, excluding
from slurm.submit import send


def move(store: Path, run: Run, job: Job, node: str, retries: int) -> bool:
    """Send a cell that a node failed to another node, as a job of its own. Called in the job that failed.

    Returns:
        Whether it was sent; where it wasn't, the cell stays `failed`, and ``retry`` is left to the user.
    """
    ticket = sound_ticket(run)
    old = None if ticket is None else records.read_submission(store, ticket.submission)
    if ticket is None or old is None or ticket.moves >= retries or not holds_ticket(run, job):
        return False
    rows = records.failures(store)
    tried = {row.node for row in rows if row.cell == run.id} | {node}
    asked = excluding(old.arrays[ticket.array].resources(), sorted(tried))
    asked = exclude_where_possible(asked, sorted(set(records.bad_nodes(rows)) - tried))[0]
    made, why = _again(store, old, old.arrays[ticket.array], [run.id], asked)
    if made is None:
        print(f"not moved away from {node}: {why}", flush=True)
        return False
    print(f"moved away from {node} to job {made.arrays[0].job_id}, which excludes {asked.exclude}", flush=True)
    return True


def try_again(store: Path, old: Submission, array: Array, cells: Sequence[str]) -> Submission | None:
    """Submit cells again whose jobs ended through no fault of theirs, without the nodes that failed them if others are left.

    Args:
        store: the run store, whose submission lock is held.
        old, array: what they were submitted in.
        cells: their ids.

    Returns:
        The new submission; None where they have been tried as often as the profile says, or Slurm refuses.
    """
    profile = array.resources()
    if old.moves >= profile.retries.infrastructure:
        return None
    rows = records.failures(store)
    nodes = {row.node for row in rows if row.cell in set(cells)} | set(records.bad_nodes(rows))
    asked = exclude_where_possible(profile, sorted(nodes))[0]
    return _again(store, old, array, cells, asked)[0]


def _again(
    store: Path, old: Submission, array: Array, cells: Sequence[str], asked: Profile
) -> tuple[Submission | None, str]:
    """Make and send a submission of some cells of an earlier one; return why where it isn't accepted."""
    number = records.new_id()
    until = {cell: array.until[cell] for cell in cells if cell in array.until}
    asked = asked.model_copy(update={"pack": min(asked.pack, len(cells))})
    again = Array(
        job_name(old.grid, number, 0, cells),
        list(cells),
        asked.model_dump(mode="json"),
        -(-len(cells) // asked.pack),
        until=until,
        variables=array.variables,
    )
    made = replace(old, id=number, arrays=[again], next=None, moves=old.moves + 1, time=clock.now(store))
    before = {cell: sound_ticket(Run(store / cell)) for cell in cells}
    made.write(store)
    for index, cell in enumerate(cells):
        Ticket(number, 0, index, made.moves, made.time).write(Run(store / cell))
    try:
        send(store, made, hold=asked.parallel is not None)
    except BenchError as error:
        for cell, ticket in before.items():
            if ticket is not None:
                ticket.write(Run(store / cell))
        return None, str(error)
    return made, ""
