"""``plan``, ``run`` and ``status``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import ALL, IDS, JSON, ONLY, SHOWN, disable_gc, matching, takes_request
from bench.cli.output import console, counted, print_json, print_warnings, projection_text
from bench.cli.preflight import CHECK, faults_of, refuse
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from bench.cost.predict import Prediction
    from bench.plan.request import Request
    from bench.store.status import GridStatus
    from bench.store.summary import Summary


PREDICT = Annotated[bool, typer.Option("--predict", help="Predict each cell's peak memory; kept.")]
GPU_MEMORY = Annotated[
    float | None,
    typer.Option("--gpu-memory", metavar="GB", min=0, help="Mark cells predicted above; implies --predict."),
]
POWER = Annotated[
    float | None,
    typer.Option("--power", metavar="MIOU", min=0.001, help="Say how many runs settle such a difference."),
]
WORKERS = Annotated[
    int, typer.Option("--workers", min=1, help="Cells at a time; each has the grid's number of threads.")
]
LIMIT = Annotated[
    str | None,
    typer.Option("--for", metavar="TIME", help="Stop after 9m, 1h30m …; cells that can't end by then aren't begun."),
]
WITH_WHAT_IS_THERE = Annotated[
    bool, typer.Option("--with-what-is-there", help="Of a tuned grid: choose among the trials that are done.")
]
TRACK = Annotated[
    list[str] | None,
    typer.Option("--track", metavar="NAME", help="Tell of runs as they train: tensorboard, wandb, mlflow, trackio."),
]


@takes_request
def plan(
    request: Request,
    as_json: JSON = False,
    every: ALL = False,
    ids: IDS = False,
    predict: PREDICT = False,
    gpu_memory: GPU_MEMORY = None,
    difference: POWER = None,
    check: CHECK = False,
) -> None:
    """Show what a grid will run: cells, ids, splits, predicted memory. Trains nothing.

    Exit code 2 if something that cells need is missing, or can't be read.
    """
    from bench.cli.memory import advice, describe, predictions
    from bench.plan.preflight import missing_of
    from bench.plan.summary import plan_and_keep, planned_summary
    from bench.store.status import grid_status
    from bench.store.throughput import project_work

    found, advised = dict[str, "Prediction"](), list[str]()
    if check:
        planned, summary = plan_and_keep(request)
        refuse(faults_of([*planned.trials, *planned.cells], request))
    if predict or gpu_memory is not None:
        planned, summary = plan_and_keep(request)
        found = predictions(planned, request, gpu_memory, as_json)
        advised = list(advice(planned, found))
    else:
        disable_gc()
        summary = planned_summary(request)
    refuse(missing_of(summary, request.store))
    state = grid_status(request.store, summary)
    projection = project_work(summary.work, request.store)
    splits = sorted({split.sha256 for split in summary.freshness.splits})
    said = [] if difference is None else _power(request, summary, difference)
    if as_json:
        more: dict[str, object] = {"predicted": found} if found else {}
        more |= {"power": said} if said else {}
        more |= {"warnings": summary.warnings} if summary.warnings else {}
        more |= {"advice": advised} if advised else {}
        more |= {"processes": summary.processes} if summary.processes > 1 else {}
        seconds = {"projected_seconds": projection.seconds, "cells_without_pace": projection.unknown}
        print_json({**state, **seconds, "splits": splits, **more})
        return
    from bench.cli.states import plan_table, totals

    out = console()
    out.print(summary.name, style="bold", end="")
    out.print(f": {summary.title}")
    out.print(f"{_cells(summary)}, {counted(len(splits), 'label split')}; {totals(state)}")
    out.print(f"{_steps(summary)}; {projection_text(projection)}")
    print_warnings(out, summary.warnings)
    predicted = {cell_id: describe(one).strip() for cell_id, one in found.items()}
    out.print(plan_table(summary.cells, None if every else SHOWN, predicted, ids))
    if len(summary.cells) > SHOWN and not every:
        out.print(f"  … {len(summary.cells) - SHOWN} more (--all)")
    for line in (*advised, *said):
        out.print(line)


def _cells(summary: Summary) -> str:
    """Return how many cells a grid has, and along which axes."""
    shape = " × ".join(f"{n} {key}" for key, n in summary.axes if n > 1)
    return counted(len(summary.cells), "cell") + (f" ({shape})" if shape else "")


def _steps(summary: Summary) -> str:
    """Return how many steps a cell has, `91,200 to 104,880` where epochs say so, and how many processes take them."""
    known = sorted({cell.iterations for cell in summary.cells if cell.iterations is not None}) or [
        summary.iterations or 0
    ]
    steps = " to ".join(f"{steps:,}" for steps in dict.fromkeys((known[0], known[-1]))) + " steps a cell"
    return steps if summary.processes == 1 else f"{steps}, by {summary.processes} processes together"


def _power(request: Request, summary: Summary, difference: float) -> list[str]:
    """Return how many runs a difference in mIoU takes, in lines."""
    from bench.report import records, spread

    runs = records.load(request.store, summary.cells)
    return list(spread.explain(runs, summary.select, difference))


@takes_request
def run(
    request: Request,
    workers: WORKERS = 1,
    only: ONLY = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run diverged cells again as well.")] = False,
    limit: LIMIT = None,
    with_what_is_there: WITH_WHAT_IS_THERE = False,
    track: TRACK = None,
    check: CHECK = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but what went wrong.")] = False,
    as_json: JSON = False,
) -> None:
    """Run a grid on this machine. Done cells are kept, interrupted ones go on where they stopped.

    Exit code 2 if what cells need is missing (nothing starts), 1 if a cell failed, 75 if time (--for) was too short for all.
    """
    from bench import locks
    from bench.cli.rounds import Rounds, report, runnable, said_owner
    from bench.plan.leaving import choose_among_done
    from bench.plan.preflight import missing_for
    from bench.plan.summary import make_plan
    from bench.run.limit import read_time
    from bench.run.provenance import git_problem
    from bench.run.signals import Interrupted
    from bench.store.activity import grid_activity, owners

    if track:
        request = replace(request, sets=(*request.sets, f"resources.track=[{', '.join(track)}]"))
    out, begin = console(stderr=as_json), time.monotonic()
    out.quiet = quiet
    rounds = Rounds(request, workers, retry, out, None if limit is None else read_time(limit))
    planned = make_plan(request)
    print_warnings(out, planned.warnings)
    if with_what_is_there:
        planned = choose_among_done(planned, request)
    cells = runnable(planned, only)
    refuse(missing_for([one.cell for one in cells], request.store))
    refuse(faults_of(cells, request) if check else [])
    rounds.others = owners(request.store, planned.name)
    for owner in rounds.others:
        out.print(f"{planned.name} is being run by {said_owner(owner)}; this run takes the cells that nobody has yet")
    with grid_activity(request.store, planned.name):
        print_warnings(out, [*filter(None, [git_problem(), locks.problem(request.store)])])
        try:
            while rounds.run(planned, runnable(planned, only)):
                planned = make_plan(request)
        except Interrupted as signal:
            out.print("interrupted: every run has kept its last checkpoint; the same command goes on from there")
            raise SystemExit(signal.exit_code) from None
    report(out, rounds, time.monotonic() - begin, as_json)


def viewed(request: Request, only: str | None = None) -> GridStatus:
    """Return the status of a grid, or of its cells `only`, from the files, with what the backends know beside it."""
    from bench.cli.backend import backends
    from bench.plan.summary import find_summary
    from bench.store.status import grid_status, narrowed

    state = grid_status(request.store, find_summary(request))
    if only is not None:
        state = narrowed(state, matching(state["cells"], lambda row: row["coords"], only))
    if any(row.get("submission") for row in state["cells"]):
        for backend in backends():
            backend.view(request.store, state)
    return state


@takes_request
def status(
    request: Request,
    only: ONLY = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until nothing runs any more.")] = False,
    every: ALL = False,
    ids: IDS = False,
    hours: Annotated[bool, typer.Option("--hours", help="What it has taken so far, by method and state.")] = False,
    as_json: JSON = False,
) -> None:
    """Show the state of every cell of a grid: from the files of its runs, and Slurm's view beside them."""
    from bench.cli.states import status_table

    if not watch:
        disable_gc()
    if hours and only is not None:
        raise BenchError("--hours is of the whole grid, by method and state; leave out --only")
    state = viewed(request, only)
    if hours:
        from bench.cli.hours import show_hours

        show_hours(request, state, as_json)
        return
    if as_json:
        print_json(state)
        return
    out = console()
    if watch:

        def drawn(seen: GridStatus) -> RenderableType:  # the terminal may be resized meanwhile
            return status_table(seen, every, out.width, ids, out.height if out.is_terminal else None)

        state = _watch(lambda: viewed(request, only), state, out, drawn)
    else:
        out.print(status_table(state, every, out.width, ids))
    print_remarks(out, state)


def _watch(
    look: Callable[[], GridStatus], state: GridStatus, out: Console, drawn: Callable[[GridStatus], RenderableType]
) -> GridStatus:
    """Show the table again every two seconds until nothing works on the grid; return the last status.

    Of a grid that has no run yet, the first is waited for.
    """
    from rich.live import Live

    from bench.store.activity import active, is_open

    store, waits = Path(state["store"]), False
    while not (_begun(state) or active(store, state["grid"])):
        if not waits:
            waits = True
            out.print(f"no cell of {state['grid']} has begun; waiting for `run` or `submit` (Ctrl-C ends it)")
        time.sleep(2)
        state = look()
    with Live(drawn(state), console=out, auto_refresh=False) as live:
        # A `run` may be between two cells. It is asked for first: what it ended before it went is in the status then.
        goes_on = active(store, state["grid"]) or any(is_open(row) for row in state["cells"])
        while goes_on:
            time.sleep(2)
            goes_on = active(store, state["grid"])
            state = look()
            goes_on = goes_on or any(is_open(row) for row in state["cells"])
            live.update(drawn(state), refresh=True)
    return state


def _begun(state: GridStatus) -> bool:
    """Tell whether a cell has begun, or been submitted."""
    return any(row["state"] != "pending" for row in state["cells"])


def print_remarks(out: Console, state: GridStatus) -> None:
    """Print what Slurm and the files disagree on, nodes that fail cells, and whether Slurm answered."""
    for dataset, reason in state.get("absent", {}).items():
        out.print(f"the data of '{dataset}' can't be used here ({reason}): its cells are the runs of the store")
    if state.get("slurm_error"):
        out.print(f"from the files alone, Slurm doesn't answer: {state['slurm_error']}")
    found = state.get("contradictions", [])
    for line in found[:SHOWN]:
        out.print(f"contradiction: {line}")
    if len(found) > SHOWN:
        out.print(f"… and {len(found) - SHOWN} more contradictions (--json)")
    if state.get("held"):
        out.print(
            f"{len(state['held'])} jobs are held because a node failed to launch them; `wait` or `submit` releases them"
        )
    for line in state.get("next_round", []):
        out.print(line)
    if moves := [row["moves"] for row in state["cells"] if row.get("moves")]:
        out.print(f"infrastructure failures: {counted(len(moves), 'cell')} submitted again, {sum(moves)} times in all")
    for node, reason in state.get("bad_nodes", {}).items():
        out.print(f"node {node} is left out of new submissions where others can take the job: {reason}")
