"""Which cells of a grid ``submit`` and ``retry`` submit, after what earlier submissions left has been put in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cli.rounds import runnable
from bench.errors import BenchError
from bench.plan.leaving import open_groups
from bench.plan.summary import summarise
from bench.store.activity import is_open
from bench.store.run import State
from bench.store.status import StatusRow, grid_status
from slurm import resubmit, tending
from slurm.commands import SlurmError
from slurm.view import SlurmView, add_view, settle

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request


@dataclass(frozen=True)
class SubmitOptions:
    """What the user asked ``submit`` or ``retry`` for.

    Attributes:
        request: the grid.
        profile: name or path of the profile.
        only: of ``--only``.
        states: cells in one of these are submitted.
        parallel: cells at a time; None leaves it to the profile.
        dry_run: print the scripts, submit nothing.
        yes: don't ask.
        as_json: print JSON.
        with_what_is_there: of a tuned grid, choose among the trials that are done.
        after: the submission whose next round this is; "" where a person asks.
    """

    request: Request
    profile: str
    only: str | None
    states: frozenset[str]
    parallel: int | None
    dry_run: bool
    yes: bool
    as_json: bool
    with_what_is_there: bool = False
    after: str = ""


@dataclass(frozen=True)
class Chosen:
    """What there is to do for a grid.

    Attributes:
        cells: to submit.
        open: rows of trials that are at work, and for which a choice waits.
        goes_on: a choice waits for trials that are at work, or that are among `cells`.
    """

    cells: list[PlannedCell]
    open: list[StatusRow]
    goes_on: bool


def cells_to_submit(options: SubmitOptions, plan: Plan, out: Console) -> Chosen:
    """Return the cells to submit, after completing interrupted submissions; print how many are left alone."""
    store = options.request.store
    cells = {planned.cell.id: planned for planned in runnable(plan, options.only)}
    if not options.dry_run:
        _recover(options.request, out)
    status = grid_status(store, summarise(plan, store))
    view = add_view(store, status)
    if not options.dry_run:
        settle(store, view.ends)
        for line in [*tending.keep_away(store, *view.seen), *tending.roll(store, view.seen[0])]:
            out.print(line)
        _release(view, out)
    rows = [row for row in status["cells"] if row["id"] in cells]
    chosen = set(resubmit.choose(rows, options.states))
    for row in rows:
        until = cells[row["id"]].until
        rests = row["state"] == State.STOPPED.value and until is not None and row["step"] >= until
        if rests or (options.after and resubmit.was_submitted(store, row, until)):
            chosen.discard(row["id"])
    _print_left_alone(rows, set(cells) - chosen, out)
    awaited = {cell for group in open_groups(plan) for cell, _ in group.todo}
    at_work = [row for row in rows if row["id"] in awaited and is_open(row)]
    return Chosen([cells[name] for name in cells if name in chosen], at_work, bool(at_work or awaited & chosen))


def _recover(request: Request, out: Console) -> None:
    try:
        for line in resubmit.recover(request.store):
            out.print(line)
    except SlurmError as error:
        raise BenchError(f"an interrupted submission waits for Slurm, which doesn't answer: {error}") from None


def _release(view: SlurmView, out: Console) -> None:
    try:
        if count := resubmit.release(view):
            out.print(f"released {count} jobs that Slurm held because a node failed to launch them")
    except SlurmError as error:
        out.print(f"note: held jobs could not be released: {error}")


def _print_left_alone(rows: list[StatusRow], ids: set[str], out: Console) -> None:
    counts = Counter(row["state"] for row in rows if row["id"] in ids)
    if counts:
        more = "; `submit --cancelled` goes on with cancelled ones" if State.CANCELLED.value in counts else ""
        out.print("left alone: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) + more)
