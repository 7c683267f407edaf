"""``speed``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JSON, takes_request
from bench.cli.output import console, duration, print_json, projection_text

if TYPE_CHECKING:
    from rich.table import Table

    from bench.cost.measure import Speed
    from bench.plan.cells import Plan, PlannedCell
    from bench.plan.request import Request

OPERATORS = 10  # shown with --profile


GRID = Annotated[str, typer.Option("--grid", metavar="GRID", help="Whose cells: a file, or a name.")]


@partial(takes_request, grid=GRID, default="demo")
def speed(
    request: Request,
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]…", help="As the grid names them; all where none is given.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help=f"Also list each phase's time and the {OPERATORS} costliest operators.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps to measure of each kind.")] = 20,
    as_json: JSON = False,
) -> None:
    """Measure a grid's methods on this machine: steps and images per second, share per phase, hours; kept for `plan`."""
    from bench.machine import let_threads_sleep

    let_threads_sleep()  # as a local run does
    from bench.cli.progress import progress_bar
    from bench.cost.measure import as_json as plain
    from bench.cost.measure import measure
    from bench.plan.summary import make_plan
    from bench.store.throughput import keep, project

    plan = make_plan(request)
    chosen, found = shapes(plan, methods or []), []
    with progress_bar("measuring", as_json) as step:
        for planned in chosen:
            found.append(measure(planned, request, plan.grid.resources, steps, OPERATORS if profile else 0))
            keep(request.store, planned.cell, found[-1].throughput)
            step(len(found), len(chosen))
    projection = project([p.cell for p in plan.cells], request.store)
    if as_json:
        print_json({"cells": [plain(s) for s in found], "grid": plan.name, "projected_seconds": projection.seconds})
        return
    out = console()
    out.print(table(found))
    if profile:
        for each in found:
            out.print(profile_table(each))
    out.print(f"{plan.name}: {projection_text(projection)}")


def shapes(plan: Plan, methods: list[str]) -> list[PlannedCell]:
    """Return the first cell of each shape whose method is among `methods` (all where that is empty).

    Raises:
        BenchError: for a method that the grid doesn't have.
    """
    from bench.errors import unknown
    from bench.store.throughput import shape_key

    known = {str(p.coords["method"]) for p in plan.cells}
    for name in methods:
        if name not in known:
            raise unknown(f"method of grid {plan.name}", name, known)
    found: dict[str, PlannedCell] = {}
    for planned in plan.cells:
        if not methods or planned.coords["method"] in methods:
            found.setdefault(shape_key(planned.cell), planned)
    return list(found.values())


def _name(speed: Speed, found: list[Speed]) -> str:
    """Return a cell's method, and its slug where the method has several shapes."""
    method = speed.planned.coords["method"]
    alone = sum(s.planned.coords["method"] == method for s in found) == 1
    return str(method) if alone else speed.planned.cell.slug


def table(found: list[Speed]) -> Table:
    """Return the table of all cells measured."""
    from rich.table import Table

    from bench.cost.clock import PHASES

    shown = Table(title=f"On {found[0].throughput.hardware}; share of a step in %", title_justify="left", box=None)
    shown.add_column("method", no_wrap=True)
    for heading in ("it/s", "images/s", *PHASES, "waits for data", "a run"):
        shown.add_column(heading, justify="right")
    for one in found:
        rate = 1 / one.throughput.seconds_per_step
        shares = [f"{100 * share:.0f}" for share in one.shares.values()]
        shown.add_row(
            _name(one, found),
            f"{rate:.3g}",
            f"{rate * one.images_per_step:.3g}",
            *shares,
            f"{100 * one.waited:.1f} %",
            duration(one.throughput.seconds(one.planned.cell)),
        )
    return shown


def profile_table(speed: Speed) -> Table:
    """Return one step's phases and costliest operators."""
    from rich.table import Table

    shown = Table(title=f"A step of {speed.planned.cell.slug}", title_justify="left", box=None)
    shown.add_column("phase or operator", no_wrap=True)
    for heading in ("calls", "ms", "%"):
        shown.add_column(heading, justify="right")
    whole = sum(speed.phases.values())
    for name, seconds in speed.phases.items():
        shown.add_row(name, "", f"{1e3 * seconds:.1f}", f"{100 * seconds / whole:.1f}")
    shown.add_section()
    busy = sum(seconds for _, _, seconds in speed.operators)
    for name, calls, seconds in speed.operators:
        shown.add_row(name, str(calls), f"{1e3 * seconds:.1f}", f"{100 * seconds / busy:.1f}" if busy else "–")
    return shown
