"""``plan``, ``run`` and ``status``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from bench.cli.common import (
    DATA,
    GRID,
    JSON,
    SET,
    STORE,
    console,
    counted,
    duration,
    make_request,
    print_json,
    projection_text,
    spare_the_collector,
)

if TYPE_CHECKING:
    from rich.table import Table

    from bench.plan.request import Request
    from bench.store.run import State
    from bench.store.status import GridStatus, StatusRow

T = TypeVar("T")
ONLY = Annotated[
    str | None, typer.Option("--only", metavar="KEY=VALUE,…", help="Only these cells, e.g. method=classmix,seed=0.")
]
SHOWN = 40  # cells that `status` and `plan` list without --all


def plan(
    grid: GRID,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
    every: Annotated[bool, typer.Option("--all", help=f"List every cell, not only the first {SHOWN}.")] = False,
    predict: Annotated[bool, typer.Option("--predict", help="Predict each cell's peak memory; kept.")] = False,
    gpu_memory: Annotated[
        float | None,
        typer.Option("--gpu-memory", metavar="GB", min=0, help="Mark cells predicted above; implies --predict."),
    ] = None,
) -> None:
    """Show what a grid will run: cells, ids, splits, predicted memory. Trains nothing."""
    from rich.text import Text

    from bench.cli.predicted import describe, predictions
    from bench.plan.summary import plan_and_keep, planned_summary
    from bench.store.status import grid_status
    from bench.store.throughput import project_work

    request, found = make_request(grid, sets, data, store), dict[str, dict[str, Any]]()
    if predict or gpu_memory is not None:
        planned, summary = plan_and_keep(request)
        found = predictions(planned, request, gpu_memory, as_json)
    else:
        spare_the_collector()
        summary = planned_summary(request)
    state = grid_status(request.store, summary)
    projection = project_work(summary.work, request.store)
    splits = sorted({split.sha256 for split in summary.freshness.splits})
    if as_json:
        seconds = {"projected_seconds": projection.seconds, "cells_without_pace": projection.unknown}
        print_json({**state, **seconds, "splits": splits, **({"predicted": found} if found else {})})
        return
    out, count = console(), len(summary.cells)
    out.print(Text.assemble((summary.name, "bold"), f": {summary.title}"))
    shape = " × ".join(f"{n} {key}" for key, n in summary.axes if n > 1)
    cells = counted(count, "cell") + (f" ({shape})" if shape else "")
    out.print(f"{cells}, {counted(len(splits), 'label split')}; {totals(state)}", markup=False)
    out.print(projection_text(projection), markup=False)
    for cell in summary.cells[: None if every else SHOWN]:
        out.print(f"  {cell.id}{describe(found.get(cell.id))}", markup=False)
    if count > SHOWN and not every:
        out.print(f"  … {count - SHOWN} more (--all)")


def matching(items: Sequence[T], coords: Callable[[T], Mapping[str, Any]], only: str | None) -> list[T]:
    """Return the items that match ``--only key=value,…`` (keys are coordinates).

    Raises:
        BenchError: for an unknown key, or if nothing matches.
    """
    from bench.errors import BenchError, unknown

    found = list(items)
    for item in filter(None, (only or "").split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise BenchError(f"--only {item}: expected key=value, e.g. --only method=classmix,seed=0")
        keys = {k for i in items for k in coords(i)}
        if key not in keys:
            raise unknown("key of --only", key, keys)
        values = {str(coords(i).get(key)) for i in items}
        if value not in values:
            raise unknown(f"value of --only {key}", value, values)
        found = [i for i in found if str(coords(i).get(key)) == value]
    if not found:
        raise BenchError(f"--only {only}: no cell of the grid matches all of it")
    return found


def run(
    grid: GRID,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Cells at a time; they share the cores.")] = 1,
    only: ONLY = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run diverged cells again as well.")] = False,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Run a grid on this machine. Done cells are kept, interrupted ones go on where they stopped."""
    from bench.cli.progress import GridProgress
    from bench.plan.jobs import make_jobs
    from bench.plan.summary import make_plan
    from bench.run.local import run_local

    request = make_request(grid, sets, data, store)
    planned = make_plan(request)
    cells = matching(planned.cells, lambda cell: cell.coords, only)
    jobs, done = make_jobs(planned, cells, request, retry)
    out = console(stderr=as_json)
    if done:
        out.print(f"{done} of {len(cells)} cells are done already")
    begin, states = time.monotonic(), dict[str, "State"]()
    if jobs:
        sizes = {c.cell.id: c.cell.schedule.iterations for c in cells}
        with GridProgress(request.store, {j.cell_id: sizes[j.cell_id] for j in jobs}, out) as progress:
            try:
                states = run_local(jobs, min(workers, len(jobs)), progress.show)
            except KeyboardInterrupt:
                progress.stop()
                out.print("interrupted: every run has kept its last checkpoint; the same command goes on from there")
                raise SystemExit(130) from None
    _report(out, states, request.store, time.monotonic() - begin, as_json, len(cells), done)


def _report(
    out: Any, states: dict[str, State], store: Path, seconds: float, as_json: bool, cells: int, done: int
) -> None:
    from bench.store.run import Run, State

    bad = {i: s for i, s in states.items() if s is not State.DONE}
    if as_json:
        print_json({"cells": cells, "done_before": done, "states": {i: s.value for i, s in states.items()}})
    elif states:
        counts = ", ".join(f"{n} {s.value}" for s, n in Counter(states.values()).items())
        out.print(f"{counts} in {duration(seconds)}; runs are in {store}")
    for cell_id, state in bad.items():
        sys.stderr.write(f"{cell_id}: {state.value}: {Run(store / cell_id).read_state().get('reason')}\n")
    if bad:
        raise SystemExit(1)


def viewed(request: Request) -> GridStatus:
    """Return a grid's status with Slurm's view beside the files'."""
    from bench.plan.summary import find_summary
    from bench.store.status import grid_status

    state = grid_status(request.store, find_summary(request))
    if any(row.get("submission") for row in state["cells"]):
        from slurm.view import add_view

        add_view(request.store, state)
    return state


def status(
    grid: GRID,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until nothing runs any more.")] = False,
    every: Annotated[bool, typer.Option("--all", help=f"List every cell, not only the first {SHOWN}.")] = False,
    sets: SET = None,
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Show the state of every cell of a grid: from the files of its runs, and Slurm's view beside them."""
    if not watch:
        spare_the_collector()
    request = make_request(grid, sets, data, store)
    state = viewed(request)
    if as_json:
        print_json(state)
        return
    out = console()
    if not watch:
        out.print(status_table(state, every))
        print_remarks(out, state)
        return
    from rich.live import Live

    from slurm.view import is_open

    with Live(status_table(state, every), console=out, auto_refresh=False) as live:
        while any(is_open(row) for row in state["cells"]):
            time.sleep(2)
            state = viewed(request)
            live.update(status_table(state, every), refresh=True)
    print_remarks(out, state)


def print_remarks(out: Any, state: GridStatus) -> None:
    """Print what Slurm and the files disagree on, nodes that fail cells, and whether Slurm answered."""
    if state.get("slurm_error"):
        out.print(f"from the files alone, Slurm doesn't answer: {state['slurm_error']}", markup=False)
    found = state.get("contradictions", [])
    for line in found[:SHOWN]:
        out.print(f"contradiction: {line}", markup=False)
    if len(found) > SHOWN:
        out.print(f"… and {len(found) - SHOWN} more contradictions (--json)")
    if state.get("held"):
        out.print(
            f"{len(state['held'])} jobs are held because a node failed to launch them; `wait` or `submit` releases them"
        )
    for node, reason in state.get("bad_nodes", {}).items():
        out.print(f"node {node} is left out of new submissions: {reason}", markup=False)


def totals(state: GridStatus) -> str:
    """Write totals as ``3 done, 1 running``."""
    return ", ".join(f"{n} {name}" for name, n in sorted(state["totals"].items()))


def status_table(state: GridStatus, every: bool) -> Table:
    """Return the table of a grid's cells, those that need a look first."""
    from rich.markup import escape
    from rich.table import Table

    order = {"running": 0, "failed": 1, "out-of-memory": 1, "timed-out": 1, "diverged": 1, "preempted": 2, "done": 5}
    order |= {"queued": 4}
    rows = sorted(state["cells"], key=lambda r: order.get(r["state"], 3))
    rows += cast("list[StatusRow]", state["stale"])  # which have fewer keys
    hidden = 0 if every else max(len(rows) - SHOWN, 0)
    caption = (
        f"{totals(state)}; {100 * state['progress']:.0f} % of all iterations; left: {duration(state['eta_seconds'])}"
    )
    table = Table(
        title=f"{escape(state['grid'])} ({counted(len(state['cells']), 'cell')})",
        caption=caption + (f"; {hidden} more cells (--all)" if hidden else ""),
        title_justify="left",
        caption_justify="left",
        box=None,
    )
    submitted = any(row.get("submission") for row in rows)
    extra = ("job", "Slurm", "node") if submitted else ()
    for heading in ("cell", "state", "step", "it/s", "ETA", "mIoU", "attempt", *extra, "reason"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "reason")
    for row in rows[: len(rows) - hidden]:
        step = f"{row['step']}/{row['iterations']}" if "step" in row else ""
        rate = f"{row['it_per_s']:.1f}" if row.get("it_per_s") else ""
        miou = f"{row['miou']:.1f}" if row.get("miou") is not None else ""
        reason = escape(str(row.get("reason") or ""))
        facts = [str(row.get(key) or "") for key in ("job", "slurm", "node")] if submitted else []
        table.add_row(
            row["id"], row["state"], step, rate, cell_eta(row), miou, str(row.get("attempt", "")), *facts, reason
        )
    return table


def cell_eta(row: StatusRow) -> str:
    """Return how long a running cell still takes at its present rate."""
    rate = row.get("it_per_s")
    return duration((row["iterations"] - row["step"]) / rate) if row["state"] == "running" and rate else ""


def add_to(app: typer.Typer) -> None:
    """Add this room's verbs."""
    for verb in (plan, run, status):
        app.command()(verb)
