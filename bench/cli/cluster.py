"""``cancel``, ``wait`` and ``logs``: what comes after a grid was submitted."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import DATA, GRID, JSON, SET, STORE, console, counted, duration, make_request, print_json
from bench.cli.grids import ONLY, matching, totals, viewed
from bench.cli.submit import YES


def cancel(
    grid: GRID,
    only: ONLY = None,
    yes: YES = False,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Take cells back from the cluster, waiting ones too; those that run keep their checkpoint."""
    from bench.errors import BenchError
    from slurm import records, resubmit
    from slurm.commands import SlurmError

    request = make_request(grid, sets, data, store)
    with records.submitting(request.store):
        rows = matching(viewed(request)["cells"], lambda row: row["coords"], only)
        question = f"Cancel what is open of {counted(len(rows), 'cell')}?"
        if not yes and sys.stdin.isatty() and not typer.confirm(question):
            raise BenchError("nothing was cancelled")
        try:
            taken = resubmit.cancel(request.store, rows)
        except SlurmError as error:
            raise BenchError(f"the cells are marked, but Slurm did not answer: {error}; cancel again later") from None
    if as_json:
        print_json({"cancelled": taken})
    else:
        console().print(f"cancelled {counted(len(taken), 'cell')}" if taken else "nothing to cancel")


def wait(
    grid: GRID,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="S", help="Give up after this long.")] = None,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Wait until no cell of a grid runs or waits any more; exit code 0 if all are done, 1 if not."""
    from slurm import resubmit
    from slurm.commands import SlurmError
    from slurm.view import is_open

    request = make_request(grid, sets, data, store)
    out, begin, said, pause = console(stderr=as_json), time.monotonic(), "", 1.0
    while True:
        state = viewed(request)
        line = totals(state) + (f"; Slurm doesn't answer: {state['slurm_error']}" if state.get("slurm_error") else "")
        if line != said:
            out.print(f"{duration(time.monotonic() - begin)}: {line}; left: {duration(state['eta_seconds'])}")
            said = line
        if not any(is_open(row) for row in state["cells"]):
            break
        with contextlib.suppress(SlurmError):  # the next round tries again
            resubmit.release(state)
        if timeout is not None and time.monotonic() - begin > timeout:
            out.print(f"gave up after {duration(timeout)}")
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 30.0)
    done = state["totals"].get("done", 0) == len(state["cells"])
    if as_json:
        print_json({"done": done, "totals": state["totals"]})
    raise SystemExit(0 if done else 1)


def logs(
    grid: GRID,
    cell: Annotated[str, typer.Option("--cell", metavar="ID", help="The cell's id, or the beginning of it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the cell ends.")] = False,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
) -> None:
    """Print what a cell's process printed, and what its job said before and after."""
    from bench.errors import BenchError
    from bench.store.run import Run
    from slurm.view import attempts_log, is_open

    request = make_request(grid, sets, data, store)
    state = viewed(request)
    rows = [row for row in state["cells"] if row["id"].startswith(cell)]
    if len(rows) != 1:
        what = "no cell" if not rows else f"{len(rows)} cells"
        raise BenchError(f"--cell {cell}: {what} of {state['grid']} begins so; `status {grid} --all` lists them")
    row, run = rows[0], Run(request.store / rows[0]["id"])
    sys.stdout.write(f"{row['id']}: {row['state']}" + (f": {row['reason']}\n" if row.get("reason") else "\n"))
    for path in attempts_log(request.store, row):
        _print_file(path, 0)
    place = _print_file(run.log, 0)
    while follow and is_open(row):
        time.sleep(1)
        place = _print_file(run.log, place, heading=False)
        row = next(r for r in viewed(request)["cells"] if r["id"] == row["id"])


def _print_file(path: Path, start: int, heading: bool = True) -> int:
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read()
    except FileNotFoundError:
        return start
    if text:
        sys.stdout.write((f"==> {path}\n" if heading else "") + text.decode(errors="replace"))
        sys.stdout.flush()
    return start + len(text)


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs."""
    for verb in (cancel, wait, logs):
        app.command()(verb)
