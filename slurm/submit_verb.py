"""What ``submit`` and ``retry`` do, step by step, and what they print."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.cli.options import matching
from bench.cli.output import console, counted, print_json, print_warnings, projection_text
from bench.errors import BenchError
from bench.plan.jobs import make_jobs
from bench.plan.leaving import choose_among_done
from bench.plan.summary import make_plan, summarise
from bench.spec.grid import grid_path
from bench.store.status import StatusRow, grid_status
from bench.store.threads import with_threads
from bench.store.throughput import project
from slurm import records, resubmit, rounds
from slurm.commands import SlurmError, max_array_size
from slurm.preflight import problems
from slurm.profiles import Profile, read_profile
from slurm.request import ArrayRequest, array_requests, script
from slurm.submit import record_submission, send
from slurm.view import SlurmView, add_view, settle

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request
    from slurm.records import Array, Submission


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


def submit_cells(options: SubmitOptions) -> None:
    """Submit a grid's cells that are in one of the wanted states and that nothing will run otherwise.

    Raises:
        BenchError: if anything is wrong with the grid, the profile or the cluster; nothing is submitted then.
    """
    request, out = options.request, console(stderr=options.as_json)
    profile = read_profile(options.profile)
    profile = profile.model_copy(update={"parallel": options.parallel or profile.parallel})
    plan = make_plan(request)
    print_warnings(out, plan.warnings)
    with records.submitting(request.store):
        if options.with_what_is_there:
            plan = choose_among_done(plan, request)
        cells = _cells_to_submit(options, plan, out)
        requests = _requests(cells, profile, request)
        if options.dry_run:
            _print_scripts(requests, request)
            return
        made = None
        if cells:
            _preflight(requests, request, out)
            _confirm(requests, options, out)
            jobs, _ = make_jobs(plan, cells, request, retry="diverged" in options.states)
            if len(jobs) < len(cells):
                raise BenchError("nothing was submitted: another process has finished some of these cells; try again")
            jobs = with_threads(jobs, plan.name, (c.cell.id for c in plan.cells), profile.cpus)
            more = plan.tuned is not None and any(cell.waits for cell in plan.cells)
            again = rounds.Again(request, options.profile, options.only, options.parallel).words() if more else []
            made = record_submission(request.store, plan.name, requests, jobs, again=again)
            send(request.store, made, lambda array: _print_accepted(array, out))
            _follow(request.store, made, profile, out)
    _report(made, options.as_json, out)


# -- which cells -------------------------------------------------------------------------------------------------------


def _cells_to_submit(options: SubmitOptions, plan: Plan, out: Console) -> list[PlannedCell]:
    """Return the cells to submit, after completing interrupted submissions; print how many are left alone."""
    store = options.request.store
    cells = matching(plan.runnable(), lambda cell: cell.coords, options.only, lambda cell: cell.cell)
    if not options.dry_run:
        _recover(options.request, out)
    status = grid_status(store, summarise(plan, store))
    view = add_view(store, status)
    if not options.dry_run:
        settle(store, view.ends)
        _release(view, out)
    chosen = set(resubmit.choose(status["cells"], options.states))
    _print_left_alone(status["cells"], {c.cell.id for c in cells} - chosen, out)
    return [c for c in cells if c.cell.id in chosen]


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
        out.print("left alone: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))


# -- what is asked of Slurm --------------------------------------------------------------------------------------------


def _requests(cells: list[PlannedCell], profile: Profile, request: Request) -> list[ArrayRequest]:
    """Group the cells into arrays; print which nodes are excluded because they fail cells."""
    bad = records.bad_nodes(records.failures(request.store))
    size = max_array_size() if profile.executor == "slurm" else max(len(cells), 1)
    requests = array_requests(cells, profile, str(grid_path(request.grid)), size, list(bad))
    unavoidable = {node for one in requests for node in one.unavoidable}
    excluded = {node for one in requests if one.profile.executor == "slurm" for node in bad if not one.unavoidable}
    for node in sorted(excluded):
        sys.stderr.write(f"leaving out node {node}: {bad[node]}\n")
    if unavoidable:
        names = ", ".join(sorted(unavoidable))
        cells_count = counted(sum(len(one.cells) for one in requests if one.unavoidable), "cell")
        sys.stderr.write(f"not leaving out {names}, where cells failed: no other node could take {cells_count}\n")
    return requests


def _print_scripts(requests: list[ArrayRequest], request: Request) -> None:
    folder = records.folder(request.store).resolve()
    for number, one in enumerate(requests):
        name = f"bench-SUBMISSION-{number}"
        text = script(one.profile, folder / "SUBMISSION" / "jobs", folder / "code" / "SNAPSHOT", name, one.tasks)
        sys.stdout.write(f"# {name}: {counted(len(one.cells), 'cell')} in {counted(one.tasks, 'task')}\n{text}\n")


def _preflight(requests: list[ArrayRequest], request: Request, out: Console) -> None:
    notes: list[str] = []
    found = problems(requests, request, notes)
    if found:
        raise BenchError("nothing was submitted: " + "; ".join(found))
    for note in notes:
        out.print(f"note: {note}")


def _confirm(requests: list[ArrayRequest], options: SubmitOptions, out: Console) -> None:
    cells = [planned.cell for one in requests for planned in one.cells]
    time = projection_text(project(cells, options.request.store))
    out.print(f"{counted(len(cells), 'cell')} in {counted(len(requests), 'array')}; {time}")
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise BenchError("nothing was submitted: there is no terminal to ask on; add --yes")
    if not typer.confirm("Submit?"):
        raise BenchError("nothing was submitted")


# -- what came of it ---------------------------------------------------------------------------------------------------


def _follow(store: Path, made: Submission, profile: Profile, out: Console) -> None:
    """Submit the job that goes on with the grid's next round."""
    try:
        rounds.follow(store, made, profile)
    except SlurmError as error:
        out.print(f"note: the job that submits the next round was not accepted ({error}); `wait` or `submit` goes on")
        return
    if made.follow_up is not None:
        out.print(f"job {made.follow_up} submits the next round when these have ended")
    elif made.again:
        out.print("these are trials: `wait` goes on with the next round")


def _print_accepted(array: Array, out: Console) -> None:
    where = f"{len(array.job_id)} processes here" if isinstance(array.job_id, list) else f"job {array.job_id}"
    out.print(f"{counted(len(array.cells), 'cell')}: {where}")


def _report(made: Submission | None, as_json: bool, out: Console) -> None:
    arrays = [] if made is None else made.arrays
    if as_json:
        jobs = [{"job": a.job_id, "cells": a.cells} for a in arrays]
        print_json({"submission": None if made is None else made.id, "arrays": jobs})
    elif made is None:
        out.print("nothing to submit")
    else:
        cells = counted(sum(len(a.cells) for a in arrays), "cell")
        out.print(f"submitted {cells} as {made.id}; follow them with `status` or `wait`")
