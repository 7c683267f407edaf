"""The state of a grid, from the files of its runs. No torch here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.files import read_json
from bench.store.liveness import current_state
from bench.store.run import Run, State


def grid_status(store: Path, outline: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each cell of a grid, totals, and runs of the grid that its spec no longer contains.

    Args:
        store: the run store.
        outline: see :func:`bench.plan.cells.outline`.

    Returns:
        ``{"grid", "totals": {state: n}, "cells": [{"id", "coords", "state", "step", …}], "stale": [...], "progress",
        "eta_seconds"}``; `progress` is the share of all iterations that are done, `eta_seconds` None while nothing runs.
    """
    rows = []
    for cell in outline["cells"]:
        state = current_state(Run(store / cell["id"]))
        done = cell["iterations"] if state["state"] == State.DONE.value else int(state.get("step") or 0)
        rows.append({**state, "step": done, **cell})
    stale = stale_runs(store, outline)
    return {
        "grid": outline["name"],
        "store": str(store),
        "totals": totals(rows, stale),
        "cells": rows,
        "stale": stale,
        "progress": sum(r["step"] for r in rows) / max(sum(r["iterations"] for r in rows), 1),
        "eta_seconds": _eta(rows),
    }


def totals(cells: list[dict[str, Any]], stale: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many rows are in each state."""
    return dict(Counter(row["state"] for row in [*cells, *stale]))


def _eta(rows: list[dict[str, Any]]) -> float | None:
    """Estimate seconds left: iterations to go, at the present rate of all running cells together."""
    rate = sum(r.get("it_per_s") or 0 for r in rows if r["state"] == State.RUNNING.value)
    open_states = {State.PENDING.value, State.QUEUED.value, State.RUNNING.value, State.PREEMPTED.value}
    left = sum(r["iterations"] - r["step"] for r in rows if r["state"] in open_states)
    return left / rate if rate else None


def stale_runs(store: Path, outline: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return runs of this grid that are no longer in it: the spec or a version of the code has moved since."""
    planned = {cell["id"] for cell in outline["cells"]}
    slugs = {cell["slug"] for cell in outline["cells"]}
    stale = []
    for name in sorted(_directories(store)):
        if name not in planned and name.rpartition("-")[0] in slugs:
            try:
                cell = read_json(store / name / "cell.json")
            except ValueError:
                cell = None
            if cell is not None and cell.get("grid") == outline["name"]:
                stale.append({"id": name, "coords": cell["coords"], "state": State.STALE.value})
    return stale


def _directories(store: Path) -> list[str]:
    try:
        with os.scandir(store) as entries:
            return [e.name for e in entries if not e.name.startswith(".")]
    except FileNotFoundError:
        return []
