"""``submit`` and ``retry``: a grid's cells to a cluster."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import DATA, GRID, JSON, SET, STORE, console, counted, make_request, print_json, projection_text
from bench.cli.grids import ONLY, matching

if TYPE_CHECKING:
    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request
    from bench.store.status import GridStatus
    from bench.store.summary import Summary
    from slurm.request import Bundle

PROFILE = Annotated[
    str, typer.Option("--profile", metavar="P", help="What a cell asks for: a name in slurm/profiles, or a file.")
]
DRY = Annotated[bool, typer.Option("--dry-run", help="Print the sbatch scripts; submit nothing.")]
PARALLEL = Annotated[int | None, typer.Option("--parallel", metavar="N", min=1, help="Cells at a time, at most.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def submit(
    grid: GRID,
    profile: PROFILE,
    only: ONLY = None,
    dry_run: DRY = False,
    parallel: PARALLEL = None,
    yes: YES = False,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Submit a grid's open cells to a cluster, and return. Done, running, queued and failed cells are left alone."""
    from slurm.resubmit import SUBMITTED

    request = make_request(grid, sets, data, store)
    _submit(Wish(request, profile, only, SUBMITTED, parallel, dry_run, yes, as_json))


def retry(
    grid: GRID,
    profile: PROFILE,
    state: Annotated[
        str, typer.Option("--state", metavar="S,…", help="Which: failed, out-of-memory (oom), timed-out, diverged.")
    ] = "failed,out-of-memory,timed-out",
    only: ONLY = None,
    dry_run: DRY = False,
    parallel: PARALLEL = None,
    yes: YES = False,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Submit cells that ended badly again; they go on from their last checkpoint."""
    from bench.errors import unknown
    from slurm.resubmit import RETRIED

    wanted = {{"oom": "out-of-memory"}.get(name, name) for name in state.split(",") if name}
    for name in sorted(wanted - RETRIED):
        raise unknown("state to retry", name, RETRIED)
    request = make_request(grid, sets, data, store)
    _submit(Wish(request, profile, only, frozenset(wanted), parallel, dry_run, yes, as_json))


@dataclass(frozen=True)
class Wish:
    """What the user asked ``submit`` or ``retry`` for; `wanted` are the states whose cells are taken."""

    request: Request
    profile: str
    only: str | None
    wanted: frozenset[str]
    parallel: int | None
    dry_run: bool
    yes: bool
    as_json: bool


def _submit(wish: Wish) -> None:
    from bench.errors import BenchError
    from bench.plan.jobs import make_jobs
    from bench.plan.summary import plan_and_keep
    from bench.spec.grid import grid_path
    from slurm import records, submit
    from slurm.commands import max_array_size
    from slurm.profiles import read_profile
    from slurm.request import bundle

    request, out = wish.request, console(stderr=wish.as_json)
    asked = read_profile(wish.profile)
    asked = asked.model_copy(update={"parallel": wish.parallel or asked.parallel})
    plan, summary = plan_and_keep(request)
    with records.submitting(request.store):
        todo = _open_cells(wish, plan, summary, out)
        size = max_array_size() if asked.executor == "slurm" else max(len(todo), 1)
        bundles = bundle(todo, asked, str(grid_path(request.grid)), size, _bad_nodes(request))
        if wish.dry_run:
            _print_scripts(bundles, request)
            return
        made = None
        if todo:
            _preflight(bundles, request, out)
            _confirm(out, bundles, request, wish.yes)
            jobs, _ = make_jobs(plan, todo, request, retry="diverged" in wish.wanted)
            if len(jobs) < len(todo):
                raise BenchError("nothing was submitted: another process has finished some of these cells; try again")
            made = submit.order(request.store, plan.name, bundles, jobs)
            submit.send(request.store, made, lambda array: _say(out, array))
    _report(out, made, wish.as_json)


def _open_cells(wish: Wish, plan: Plan, summary: Summary, out: Any) -> list[PlannedCell]:
    """Return the cells to submit, after finishing what an earlier submitter had to leave; say what is left alone."""
    from bench.errors import BenchError
    from bench.store.status import grid_status
    from slurm import resubmit
    from slurm.commands import SlurmError
    from slurm.view import add_view

    store = wish.request.store
    cells = matching(plan.cells, lambda cell: cell.coords, wish.only)
    if not wish.dry_run:
        try:
            for line in resubmit.recover(store):
                out.print(line, markup=False)
        except SlurmError as error:
            raise BenchError(f"an interrupted submission waits for Slurm, which doesn't answer: {error}") from None
    state = add_view(store, grid_status(store, summary))
    if not wish.dry_run:
        _release(out, state)
    chosen = set(resubmit.choose(state["cells"], wish.wanted))
    _say_what_is_left(out, state, {c.cell.id for c in cells}, chosen)
    return [c for c in cells if c.cell.id in chosen]


def _release(out: Any, state: GridStatus) -> None:
    from slurm import resubmit
    from slurm.commands import SlurmError

    try:
        if count := resubmit.release(state):
            out.print(f"released {count} jobs that Slurm held because a node failed to launch them")
    except SlurmError as error:
        out.print(f"note: held jobs could not be released: {error}", markup=False)


def _bad_nodes(request: Request) -> list[str]:
    """Return the nodes that fail cells at once, and say so."""
    from slurm import records

    bad = records.bad_nodes(records.failures(request.store))
    for node, reason in bad.items():
        sys.stderr.write(f"leaving out node {node}: {reason}\n")
    return list(bad)


def _say_what_is_left(out: Any, state: GridStatus, ids: set[str], chosen: set[str]) -> None:
    left: dict[str, int] = {}
    for row in state["cells"]:
        if row["id"] in ids - chosen:
            left[row["state"]] = left.get(row["state"], 0) + 1
    if left:
        out.print("left alone: " + ", ".join(f"{n} {name}" for name, n in sorted(left.items())))


def _print_scripts(bundles: list[Bundle], request: Request) -> None:
    from slurm import records
    from slurm.request import script

    folder = records.folder(request.store).resolve()
    for number, bundle in enumerate(bundles):
        name = f"bench-SUBMISSION-{number}"
        text = script(bundle.profile, folder / "SUBMISSION" / "jobs", folder / "code" / "SNAPSHOT", name, bundle.tasks)
        sys.stdout.write(f"# {name}: {counted(len(bundle.cells), 'cell')} in {counted(bundle.tasks, 'task')}\n{text}\n")


def _preflight(bundles: list[Bundle], request: Request, out: Any) -> None:
    from bench.errors import BenchError
    from slurm.preflight import problems

    notes: list[str] = []
    found = problems(bundles, request, notes)
    if found:
        raise BenchError("nothing was submitted: " + "; ".join(found))
    for note in notes:
        out.print(f"note: {note}", markup=False)


def _confirm(out: Any, bundles: list[Bundle], request: Request, yes: bool) -> None:
    from bench.errors import BenchError
    from bench.store.throughput import project

    cells = [planned.cell for bundle in bundles for planned in bundle.cells]
    time = projection_text(project(cells, request.store))
    out.print(f"{counted(len(cells), 'cell')} in {counted(len(bundles), 'array')}; {time}", markup=False)
    if yes:
        return
    if not sys.stdin.isatty():
        raise BenchError("nothing was submitted: there is no terminal to ask on; add --yes")
    if not typer.confirm("Submit?"):
        raise BenchError("nothing was submitted")


def _say(out: Any, array: Any) -> None:
    where = f"job {array.job_id}" if isinstance(array.job_id, str) else f"{len(array.job_id)} processes here"
    out.print(f"{counted(len(array.cells), 'cell')}: {where}")


def _report(out: Any, made: Any, as_json: bool) -> None:
    arrays = [] if made is None else made.arrays
    if as_json:
        jobs = [{"job": a.job_id, "cells": a.cells} for a in arrays]
        print_json({"submission": None if made is None else made.id, "arrays": jobs})
    elif made is None:
        out.print("nothing to submit")
    else:
        cells = counted(sum(len(a.cells) for a in arrays), "cell")
        out.print(f"submitted {cells} as {made.id}; follow them with `status` or `wait`")


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs."""
    for verb in (submit, retry):
        app.command()(verb)
