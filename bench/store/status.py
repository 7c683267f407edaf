"""The state of a grid, from the files of its runs. No torch here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from typing_extensions import NotRequired, TypedDict  # typing has NotRequired from Python 3.11 on

from bench.files import read_json
from bench.store.liveness import current_state
from bench.store.run import Run, State, StateFacts
from bench.store.summary import CellSummary, Coords, Summary


class StaleRow(TypedDict):
    """A run of the grid that its spec no longer contains."""

    id: str
    coords: Coords
    state: str


class StatusRow(StateFacts):
    """The state of a cell: what planning says of it, what its run recorded, and Slurm's view where a job has it.

    `step` is the number of optimizer steps done, `it_per_s` iterations per second, `miou` of the last evaluation in %.
    :func:`slurm.view.add_view` adds `job`, `slurm` and `in_queue`.
    """

    id: str
    slug: str
    order: int
    coords: Coords
    iterations: int
    facts: NotRequired[dict[str, str]]
    deviations: NotRequired[list[str]]
    step: int
    job: NotRequired[str | None]
    slurm: NotRequired[str | None]
    in_queue: NotRequired[bool | None]


class GridStatus(TypedDict):
    """The states of a grid's cells, in grid order.

    `progress` is the share of all iterations that are done, `eta_seconds` None while nothing runs. The last four are
    added by :func:`slurm.view.add_view`.
    """

    grid: str
    store: str
    totals: dict[str, int]
    cells: list[StatusRow]
    stale: list[StaleRow]
    progress: float
    eta_seconds: float | None
    contradictions: NotRequired[list[str]]
    slurm_error: NotRequired[str | None]
    held: NotRequired[list[str]]
    bad_nodes: NotRequired[dict[str, str]]


def grid_status(store: Path, summary: Summary) -> GridStatus:
    """Return the state of each cell of a grid, totals, and runs of the grid that its spec no longer contains."""
    rows = [_row(store, cell) for cell in summary.cells]
    stale = stale_runs(store, summary)
    return {
        "grid": summary.name,
        "store": str(store),
        "totals": totals(rows, stale),
        "cells": rows,
        "stale": stale,
        "progress": sum(r["step"] for r in rows) / max(sum(r["iterations"] for r in rows), 1),
        "eta_seconds": _eta(rows),
    }


def _row(store: Path, cell: CellSummary) -> StatusRow:
    state: dict[str, Any] = dict(current_state(Run(store / cell.id)))
    iterations = cell.iterations or 0
    done = iterations if state["state"] == State.DONE.value else int(state.get("step") or 0)
    planned: dict[str, Any] = {"id": cell.id, "slug": cell.slug, "order": cell.order, "coords": cell.coords}
    more = {"facts": cell.facts, "deviations": cell.deviations}
    known = {key: value for key, value in more.items() if value is not None}
    return cast(StatusRow, {**state, "step": done, **planned, "iterations": iterations, **known})


def totals(cells: Iterable[StatusRow], stale: Iterable[StaleRow]) -> dict[str, int]:
    """Return how many rows are in each state."""
    return dict(Counter([*(row["state"] for row in cells), *(row["state"] for row in stale)]))


def _eta(rows: Sequence[StatusRow]) -> float | None:
    """Estimate seconds left: iterations to go, at the present rate of all running cells together."""
    rate = sum(r.get("it_per_s") or 0 for r in rows if r["state"] == State.RUNNING.value)
    open_states = {State.PENDING.value, State.QUEUED.value, State.RUNNING.value, State.PREEMPTED.value}
    left = sum(r["iterations"] - r["step"] for r in rows if r["state"] in open_states)
    return left / rate if rate else None


def stale_runs(store: Path, summary: Summary) -> list[StaleRow]:
    """Return runs of this grid that are no longer in it: the spec or a version of the code has moved since."""
    planned = {cell.id for cell in summary.cells}
    slugs = {cell.slug for cell in summary.cells}
    stale: list[StaleRow] = []
    for name in sorted(_directories(store)):
        if name not in planned and name.rpartition("-")[0] in slugs:
            try:
                cell = read_json(store / name / "cell.json")
            except ValueError:
                cell = None
            if isinstance(cell, Mapping) and cell.get("grid") == summary.name:
                stale.append({"id": name, "coords": cell["coords"], "state": State.STALE.value})
    return stale


def _directories(store: Path) -> list[str]:
    try:
        with os.scandir(store) as entries:
            return [e.name for e in entries if not e.name.startswith(".")]
    except FileNotFoundError:
        return []
