"""What ``submit`` and ``retry`` do, step by step, and what they print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from bench.cli.output import console, counted, print_json, print_warnings, projection_text
from bench.errors import BenchError
from bench.plan.jobs import make_jobs
from bench.plan.leaving import choose_among_done, waiting
from bench.plan.summary import make_plan
from bench.spec.grid import grid_path
from bench.spec.messages import validate
from bench.spec.resources import Resources
from bench.store.threads import with_threads
from bench.store.throughput import project
from slurm import records, resubmit, rolling, rounds, tending
from slurm.choosing import Chosen, SubmitOptions, cells_to_submit
from slurm.commands import SlurmError, max_array_size
from slurm.names import job_name
from slurm.preflight import problems
from slurm.profiles import Profile, read_profile
from slurm.request import ArrayRequest, array_requests, script
from slurm.submit import record_submission, send

if TYPE_CHECKING:
    from rich.console import Console

    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request
    from slurm.records import Array, Submission


def submit_cells(options: SubmitOptions) -> None:
    """Submit a grid's cells that can run, are in one of the wanted states, and that nothing will run otherwise.

    Raises:
        BenchError: if anything is wrong with the grid, the profile or the cluster; nothing is submitted then.
    """
    request, out, made = options.request, console(stderr=options.as_json), None
    profile = read_profile(options.profile)
    profile = profile.model_copy(update={"parallel": options.parallel or profile.parallel})
    with records.submitting(request.store, rounds.PATIENCE if options.after else records.PATIENCE, out.print):
        if options.after and rounds.is_closed(request.store, options.after):
            out.print("another process went on with this grid, or it was cancelled")
            return
        plan = _plan(options, out)
        chosen = cells_to_submit(options, plan, out)
        requests = _requests(chosen.cells, profile, request)
        _check_resources(requests, plan, request)
        if options.dry_run:
            _print_scripts(requests, request, plan.name)
            return
        if chosen.cells:
            _preflight(requests, options, out)
            _confirm(requests, options, out)
            made = _submit(options, plan, chosen, requests, profile, out)
        _close_or_follow(options, plan, chosen, made, profile, out)
        tending.share(request.store, plan.name)
    _report(made, options.as_json, out)


def _plan(options: SubmitOptions, out: Console) -> Plan:
    plan = make_plan(options.request)
    print_warnings(out, plan.warnings)
    if not options.with_what_is_there:
        return plan
    if options.dry_run:
        raise BenchError("--with-what-is-there writes its choice down: not with --dry-run")
    return choose_among_done(plan, options.request)


def _submit(
    options: SubmitOptions, plan: Plan, chosen: Chosen, requests: list[ArrayRequest], profile: Profile, out: Console
) -> Submission:
    """Write the submission down, with the round that comes after it, and hand it to the executor."""
    request = options.request
    out.print(f"writing down {counted(len(chosen.cells), 'cell')} …")
    jobs, _ = make_jobs(plan, chosen.cells, request, retry="diverged" in options.states)
    if len(jobs) < len(chosen.cells):
        raise BenchError("nothing was submitted: another process has finished some of these cells; try again")
    ids = (planned.cell.id for planned in [*plan.trials, *plan.cells])
    made = record_submission(request.store, plan.name, requests, with_threads(jobs, plan.name, ids, profile.cpus))
    if chosen.goes_on:
        _again(options).note(request.store, made)
    most = max((one.profile.parallel or 0 for one in requests), default=0)
    send(request.store, made, lambda array: _print_accepted(array, out), hold=most > 0)
    if count := rolling.waiting(made):
        why = next(array.deferred for array in made.arrays if array.deferred)
        out.print(
            f"{counted(count, 'cell')} wait for room in the queue ({why}): jobs that end submit them, and so does `wait`"
        )
    if most and requests[0].profile.executor == "slurm":
        out.print(f"at most {counted(most, 'cell')} of this grid at a time, over all its arrays")
    return made


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


def _check_resources(requests: list[ArrayRequest], plan: Plan, request: Request) -> None:
    """Raise where the grid's resources and a profile's don't go together, before a job finds out."""
    given = plan.grid.resources.model_dump(mode="json")
    for profile in (one.profile for one in requests):
        validate(
            Resources, profile.resources(given), f"{grid_path(request.grid)}: profile: gpus: {profile.gpus}: resources"
        )


def _print_scripts(requests: list[ArrayRequest], request: Request, plan_name: str) -> None:
    folder = records.folder(request.store).resolve()
    for number, one in enumerate(requests):
        name = job_name(plan_name, "SUBMISSION", number, [planned.cell.id for planned in one.cells])
        text = script(one.profile, folder / "SUBMISSION" / "jobs", folder / "code" / "SNAPSHOT", name, one.tasks)
        sys.stdout.write(f"# {name}: {counted(len(one.cells), 'cell')} in {counted(one.tasks, 'task')}\n{text}\n")


def _preflight(requests: list[ArrayRequest], options: SubmitOptions, out: Console) -> None:
    notes: list[str] = []
    found = problems(requests, options.request, notes, probe=not options.after)
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


def _scope(options: SubmitOptions) -> str | None:
    """Return the ``--only`` of the rounds to come."""
    if not options.states <= resubmit.RETRIED:
        return options.only
    return rounds.scope(options.request.store, options.request, options.only)


def _again(options: SubmitOptions) -> rounds.Again:
    return rounds.Again(options.request, options.profile, _scope(options), options.parallel)


def _close_or_follow(
    options: SubmitOptions, plan: Plan, chosen: Chosen, made: Submission | None, profile: Profile, out: Console
) -> None:
    """See to it that the grid's next round is submitted once, where there is one; say what a choice waits for otherwise."""
    store = options.request.store
    only = _scope(options)
    before = [one for one in rounds.open_rounds(store, options.request) if one.next and one.next.only == only]
    last = made if made is not None and chosen.goes_on else None
    if last is None and chosen.goes_on and before:  # what it waits for runs in other jobs, or longer, than was known
        last = before[-1]
    why = "" if chosen.goes_on else "; ".join(waiting(plan))
    for one in before:
        if one.id != (last.id if last else ""):
            rounds.close(store, one, why)
    if last is not None:
        _follow(options, last, chosen, profile, out)
    elif why:
        out.print(why, markup=False)


def _follow(options: SubmitOptions, made: Submission, chosen: Chosen, profile: Profile, out: Console) -> None:
    """Submit the job that goes on with the grid's next round after a submission, unless there is one."""
    store, job = options.request.store, made.next.job if made.next else None
    if profile.executor == "local":
        if job is None and not options.after:
            rounds.watch(store, made, _again(options))
        return
    try:
        if job is None or made.id == options.after or rounds.state_of(job) is None:
            jobs = {
                str(row.get("job")).split("_")[0] for row in chosen.open if row.get("slurm") and row.get("in_queue")
            }
            rounds.follow(store, made, profile, jobs)
    except SlurmError as error:
        out.print(f"note: no job submits the next round ({error}); `wait` or `submit` goes on", markup=False)
        return
    if made.next is not None:
        out.print(f"job {made.next.job} submits the next round when these have ended")


def _print_accepted(array: Array, out: Console) -> None:
    where = f"{len(array.job_id)} processes here" if isinstance(array.job_id, list) else f"job {array.job_id}"
    out.print(f"{counted(len(array.cells), 'cell')}: {where}")


def _report(made: Submission | None, as_json: bool, out: Console) -> None:
    arrays = [] if made is None else made.arrays
    after = None if made is None or made.next is None else made.next.job
    if as_json:
        jobs = [{"job": a.job_id, "cells": a.cells} for a in arrays]
        print_json({"submission": None if made is None else made.id, "arrays": jobs, "next_round": after})
    elif made is None:
        out.print("nothing to submit")
    else:
        cells = counted(sum(len(a.cells) for a in arrays), "cell")
        out.print(f"submitted {cells} as {made.id}; follow them with `status` or `wait`")
