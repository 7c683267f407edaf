"""``status --hours``: what a grid has taken, what of that was lost, and what it was projected to take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.cli.output import console, counted, duration, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from bench.plan.request import Request
    from bench.store.hours import Spent
    from bench.store.status import GridStatus
    from bench.store.throughput import Projection

COLUMNS = (
    "method",
    "state",
    "cells",
    "attempts",
    "hours",
    "core-hours",
    "GPU-hours",
    "lost: preempted",
    "lost: failed",
)


def show_hours(request: Request, state: GridStatus, as_json: bool) -> None:
    """Print the hours of a grid by method and state, beside its projection, and what Slurm's accounting has of its jobs."""
    from bench.cli.backend import backends
    from bench.plan.summary import find_summary
    from bench.store.hours import grid_hours, total
    from bench.store.throughput import project_work

    found = grid_hours(request.store, state["cells"])
    whole, projection = total(found.values()), project_work(find_summary(request).work, request.store)
    allocated = [given for backend in backends() if (given := backend.hours(request.store, state)) is not None]
    if as_json:
        rows = [{"method": method, "state": name, **spent.as_hours()} for (method, name), spent in found.items()]
        projected = {"hours": projection.seconds / 3600, "cells": projection.cells, "unknown": projection.unknown}
        print_json({"rows": rows, "total": whole.as_hours(), "projected": projected, "allocated": allocated})
        return
    out = console()
    out.print(_table(state["grid"], found, whole))
    out.print(_projected(projection, whole))
    if whole.unknown:
        out.print(f"{counted(whole.unknown, 'attempt')} of earlier versions, whose end wasn't noted, not counted")
    for given in allocated:
        for line in _allocated(given):
            out.print(line)


def _table(grid: str, found: dict[tuple[str, str], Spent], whole: Spent) -> Table:
    from rich.table import Table

    table = Table(title=f"{grid}: hours so far", title_justify="left", box=None)
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading in COLUMNS[:2] else "right", no_wrap=True)
    for (method, state), spent in [*found.items(), (("all", ""), whole)]:
        seconds = (spent.seconds, spent.core_seconds, spent.gpu_seconds, *spent.lost.values())
        table.add_row(method, state, str(spent.cells), str(spent.attempts), *(f"{one / 3600:.3g}" for one in seconds))
    return table


def _projected(projection: Projection, whole: Spent) -> str:
    used = f"used so far: {duration(whole.seconds)}"
    if not projection.cells:
        return f"{used}; nothing to project from: no throughput of these cells in this store yet (`speed` measures it)"
    more = f", {projection.unknown} more cells unknown" if projection.unknown else ""
    return f"{used}; projected for {counted(projection.cells, 'cell')}: {duration(projection.seconds)}{more}"


def _allocated(given: dict[str, Any]) -> list[str]:
    """Return in lines what Slurm's accounting has."""
    ends = ", ".join(f"{hours:.3g} {end}" for end, hours in given["node_hours_by_end"].items())
    lines = [
        f"allocated by Slurm, {counted(given['starts'], 'start')} of jobs: {given['node_hours']:.3g} node-hours ({ends}), "
        f"{given['core_hours']:.3g} core-hours, {given['gpu_hours']:.3g} GPU-hours"
    ]
    shares = {"of the cores' time": given["cpu_efficiency"], "of the memory": given["memory_efficiency"]}
    known = [f"{100 * share:.0f} % {what}" for what, share in shares.items() if share is not None]
    energy = [f"{given['kwh']:.3g} kWh"] if given["kwh"] else []
    return lines + ([f"of that was used: {', '.join([*known, *energy])}"] if known or energy else [])
