"""The evaluations that runs made during training, and the losses and other quantities that they logged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import Damaged, unknown
from bench.patience import LARGE, read_bytes
from bench.store.run import Run
from bench.store.summary import CellSummary

Curve = dict[int, float]  # iterations -> mIoU in %, or a logged quantity


def _lines(path: Path, key: str) -> Iterator[tuple[int, Any]]:
    """Yield step and what is under a key of the lines of metrics.jsonl that have it."""
    try:
        lines = read_bytes(path, LARGE).splitlines()
    except (FileNotFoundError, Damaged):  # of a run that is done, `cut_short` says so
        return
    for line in lines:
        if f'"{key}"'.encode() not in line:
            continue
        # A run killed while it wrote leaves half a line, which its resumed attempt writes again.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            yield int(entry["step"]), entry[key]


def _evaluations(path: Path) -> Iterator[tuple[int, float]]:
    for step, score in _lines(path, "eval"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            yield step, float(score["miou"])


def read_curves(store: Path, ids: Iterable[str]) -> dict[str, Curve]:
    """Return each run's evaluations by id, sorted by step.

    A step that a resumed run evaluated twice appears once, with the later value. Runs without any are left out.
    """
    found = {name: dict(_evaluations(Run(store / name).metrics)) for name in ids}
    return {name: dict(sorted(values.items())) for name, values in found.items() if values}


def cut_short(cells: Iterable[CellSummary], curves: Mapping[str, Curve], store: Path) -> list[str]:
    """Return a line for each run that is done and whose evaluations don't reach its end: its metrics were damaged since.

    Args:
        cells: of a grid.
        curves: those of :func:`read_curves`.
        store: the run store.
    """
    ends = ((cell.id, max(curves.get(cell.id, {}), default=0), cell.iterations or 0) for cell in cells)
    return [
        f"{name}: metrics.jsonl is damaged or missing: its curve ends at step {last:,} of {iterations:,}"
        for name, last, iterations in ends
        if last < iterations and Run(store / name).is_done()
    ]


def read_logged(store: Path, ids: Iterable[str], quantity: str) -> dict[str, Curve]:
    """Return one loss, or another quantity that methods log, of each run by id, sorted by step: means since the line before.

    Runs without it are left out.

    Raises:
        BenchError: naming what was logged, where no run has it.
    """
    found, names = dict[str, Curve](), set[str]()
    for run_id in ids:
        rows = [row for key in ("losses", "logged") for row in _lines(Run(store / run_id).metrics, key)]
        names |= {name for _, row in rows for name in row}
        curve = {step: float(row[quantity]) for step, row in rows if quantity in row}
        if curve:
            found[run_id] = dict(sorted(curve.items()))
    if not found:
        raise unknown("logged quantity", quantity, names)
    return found


def read_all(run: Run) -> dict[str, dict[str, Curve]]:
    """Return all that one run logged, by `losses` and `logged` and then by quantity, sorted by step; empty where nothing."""
    found: dict[str, dict[str, Curve]] = {}
    for kind in ("losses", "logged"):
        for step, row in _lines(run.metrics, kind):
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                for name, value in row.items():
                    found.setdefault(kind, {}).setdefault(str(name), {})[step] = float(value)
    return {kind: {name: dict(sorted(curve.items())) for name, curve in of.items()} for kind, of in found.items()}


def read_every(store: Path, ids: Iterable[str]) -> dict[str, dict[str, Curve]]:
    """Return all that some runs logged, by quantity and then by id: losses first, each in the order in which they appear."""
    found: dict[str, dict[str, dict[str, Curve]]] = {"losses": {}, "logged": {}}
    for run_id in ids:
        for kind, curves in read_all(Run(store / run_id)).items():
            for name, curve in curves.items():
                found[kind].setdefault(name, {})[run_id] = curve
    return {**found["losses"], **found["logged"]}
