"""``submit``, ``retry``, ``cancel``, ``wait`` and ``logs``; the command line finds this module through the registry."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.backend import Backend, ListEntry
from bench.cli.grids import viewed
from bench.cli.options import JSON, ONLY, matching, takes_request
from bench.cli.output import console, counted, duration, print_json
from bench.errors import Damaged
from bench.patience import open_file

if TYPE_CHECKING:
    from bench.plan.request import Request
    from bench.store.status import GridStatus
    from slurm.view import SlurmView

PROFILE = Annotated[
    str, typer.Option("--profile", metavar="P", help="What a cell asks for: a name in slurm/profiles, or a file.")
]
DRY = Annotated[bool, typer.Option("--dry-run", help="Print the sbatch scripts; submit nothing.")]
PARALLEL = Annotated[int | None, typer.Option("--parallel", metavar="N", min=1, help="Cells at a time, at most.")]
REASONS = 10  # cells that aren't done, of which `wait` says why
YES = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@takes_request
def submit(
    request: Request,
    profile: PROFILE,
    only: ONLY = None,
    dry_run: DRY = False,
    parallel: PARALLEL = None,
    with_what_is_there: Annotated[
        bool, typer.Option("--with-what-is-there", help="Of a tuned grid: choose among the trials that are done.")
    ] = False,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="Cells that were cancelled, too.")] = False,
    after: Annotated[str, typer.Option("--next-round", hidden=True)] = "",
    yes: YES = False,
    as_json: JSON = False,
) -> None:
    """Submit a grid's open cells to a cluster, and return. Done, queued, failed and cancelled cells are left alone."""
    from bench.store.run import State
    from slurm.choosing import SubmitOptions
    from slurm.resubmit import SUBMITTED
    from slurm.submit_verb import submit_cells

    states = SUBMITTED | {State.CANCELLED.value} if cancelled else SUBMITTED  # what a person ended stays ended
    what = SubmitOptions(request, profile, only, states, parallel, dry_run, yes, as_json, with_what_is_there, after)
    submit_cells(what)


@takes_request
def retry(
    request: Request,
    profile: PROFILE,
    state: Annotated[
        str, typer.Option("--state", metavar="S,…", help="Which: failed, out-of-memory (oom), timed-out, diverged.")
    ] = "failed,out-of-memory,timed-out",
    only: ONLY = None,
    dry_run: DRY = False,
    parallel: PARALLEL = None,
    yes: YES = False,
    as_json: JSON = False,
) -> None:
    """Submit cells that ended badly again; they go on from their last checkpoint."""
    from bench.errors import BenchError, unknown
    from slurm.choosing import SubmitOptions
    from slurm.resubmit import RETRIED
    from slurm.submit_verb import submit_cells

    states = {{"oom": "out-of-memory"}.get(name, name) for name in state.split(",") if name}
    if "cancelled" in states:
        raise BenchError("--state cancelled: `submit --cancelled` goes on with cells that were cancelled")
    for name in sorted(states - RETRIED):
        raise unknown("state to retry", name, RETRIED)
    submit_cells(SubmitOptions(request, profile, only, frozenset(states), parallel, dry_run, yes, as_json))


@takes_request
def cancel(request: Request, only: ONLY = None, yes: YES = False, as_json: JSON = False) -> None:
    """Cancel cells on the cluster, waiting ones too; those that run keep their checkpoint."""
    from bench.errors import BenchError
    from slurm import records, resubmit, rounds
    from slurm.commands import SlurmError

    with records.submitting(request.store, records.PATIENCE, console(stderr=as_json).print):
        rows = matching(viewed(request)["cells"], lambda row: row["coords"], only)
        question = f"Cancel what is open of {counted(len(rows), 'cell')}?"
        if not yes and sys.stdin.isatty() and not typer.confirm(question):
            raise BenchError("nothing was cancelled")
        try:
            for made in rounds.open_rounds(request.store, request):
                if made.next is not None and only in (None, made.next.only):
                    rounds.close(request.store, made)
            cancelled = resubmit.cancel(request.store, rows)
        except SlurmError as error:
            raise BenchError(f"the cells are marked, but Slurm did not answer: {error}; cancel again later") from None
    if as_json:
        print_json({"cancelled": cancelled})
    else:
        console().print(f"cancelled {counted(len(cancelled), 'cell')}" if cancelled else "nothing to cancel")


@takes_request
def wait(
    request: Request,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="S", help="Stop waiting after so long.")] = None,
    as_json: JSON = False,
) -> None:
    """Wait until no cell of a grid runs or waits any more; exit code 0 if all that are reported are done, 1 if not."""
    from bench.cli.states import totals
    from bench.store.activity import is_open
    from slurm import resubmit, rounds, tending
    from slurm.commands import SlurmError
    from slurm.view import reported

    out, begin, printed, pause = console(stderr=as_json), time.monotonic(), "", 1.0
    waiter, quiet = rounds.Waiter(request), 0
    while True:
        seen = tending.tend_if_free(request.store, request.name)
        for said in seen or ():
            out.print(said)
        state, view = _settled(request)
        line = totals(state) + (f"; Slurm doesn't answer: {view.error}" if view.error else "")
        if line != printed:
            out.print(f"{duration(time.monotonic() - begin)}: {line}; left: {duration(state['eta_seconds'])}")
            printed = line
        if seen is None or any(is_open(row) for row in state["cells"]):
            quiet = 0
        elif waiter.goes_on():
            quiet, pause = 0, 1.0
        else:  # a round may have been submitted after the look at its cells: two looks must agree
            quiet += 1
            if quiet == 2 or len(reported(state)) == len(state["cells"]):
                break
        with contextlib.suppress(SlurmError):  # the next round tries again
            resubmit.release(view)
        if timeout is not None and time.monotonic() - begin > timeout:
            out.print(f"stopped waiting after {duration(timeout)}")
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 30.0)
    done = all(row["state"] == "done" for row in reported(state))
    ended = [row for row in reported(state) if row["state"] != "done" and row.get("reason")]
    for row in ended[:REASONS]:
        out.print(f"{row['id']}: {row['state']}: {row['reason']}", markup=False)
    if len(ended) > REASONS:
        out.print(f"… and {len(ended) - REASONS} more, see `status`")
    for line in [] if done else state.get("next_round", []):
        out.print(line, markup=False)
    if as_json:
        print_json({"done": done, "totals": state["totals"]})
    raise SystemExit(0 if done else 1)


def _settled(request: Request) -> tuple[GridStatus, SlurmView]:
    """Return a grid's status and Slurm's view of it, after recording what only Slurm saw end."""
    from bench.plan.summary import find_summary
    from bench.store.status import grid_status
    from slurm.view import add_view, settle

    state = grid_status(request.store, find_summary(request))
    view = add_view(request.store, state)
    settle(request.store, view.ends)
    return state, view


@takes_request
def logs(
    request: Request,
    cell: Annotated[str, typer.Option("--cell", metavar="ID", help="Its id, or the beginning of it.")] = "",
    only: ONLY = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the cell ends.")] = False,
) -> None:
    """Print what the process of one cell (--cell or --only) printed, and what its job said before and after."""
    from bench.errors import BenchError
    from bench.store.activity import is_open
    from bench.store.run import Run
    from slurm.view import job_logs

    state = viewed(request, only)
    rows = [row for row in state["cells"] if row["id"].startswith(cell)]
    if len(rows) != 1:
        asked = " ".join([*(["--only", only] if only else []), *(["--cell", cell] if cell else [])])
        found = f"{len(rows) or 'no'} cells of {state['grid']}{f' match {asked}' if asked else ''}"
        raise BenchError(
            f"logs: {found}; name one, such as --only method=…,seed=0: `status {request.grid} --all` lists them"
        )
    row, run = rows[0], Run(request.store / rows[0]["id"])
    sys.stdout.write(f"{row['id']}: {row['state']}" + (f": {row['reason']}\n" if row.get("reason") else "\n"))
    for path in job_logs(request.store, row):
        _print_file(path, 0)
    place = _print_file(run.log, 0)
    while follow and is_open(row):
        time.sleep(1)
        place = _print_file(run.log, place, heading=False)
        row = next(r for r in viewed(request, only)["cells"] if r["id"] == row["id"])


def _print_file(path: Path, start: int, heading: bool = True) -> int:
    try:
        with open_file(path) as file:
            file.seek(start)
            text = file.read()
    except FileNotFoundError:
        return start
    except Damaged as error:
        sys.stdout.write(f"{error}\n" if heading else "")
        return start
    if text:
        sys.stdout.write((f"==> {path}\n" if heading else "") + text.decode(errors="replace"))
        sys.stdout.flush()
    return start + len(text)


# -- what `status` and `list` show -------------------------------------------------------------------------------------


def _view(store: Path, status: GridStatus) -> None:
    from slurm.view import add_view

    add_view(store, status)


def _hours(store: Path, status: GridStatus) -> dict[str, Any] | None:
    from slurm.hours import hours

    return hours(store, status)


def _profiles() -> list[ListEntry]:
    from slurm.profiles import profile_names, read_profile

    profiles = {name: read_profile(name) for name in profile_names()}
    hidden = {"description", "extends"}
    return [
        {"name": name, "summary": p.description, "options": p.model_dump(exclude=hidden, exclude_defaults=True)}
        for name, p in profiles.items()
    ]


BACKEND = Backend(verbs=(submit, retry, cancel, wait, logs), lists={"profiles": _profiles}, view=_view, hours=_hours)
