"""cell.json: the resolved cell of a run, written before it starts, read by whoever works on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.aside import set_aside
from bench.errors import BenchError, Damaged
from bench.files import read_json, write_json
from bench.spec.cell import Cell
from bench.store.run import Run


def write_cell(run: Run, grid: str, cell: Cell, coords: Mapping[str, Any], data_sha256: str = "") -> None:
    """Write a run's cell.json: the spec to run, what of it identifies the run, and the grid that first asked for it.

    Where there is one already, what doesn't identify the run (a batch size of the evaluation, a path of weights) is
    brought up to date, so that a corrected grid takes effect.

    Args:
        run: whose.
        grid: the grid's name.
        cell: the cell.
        coords: its coordinates.
        data_sha256: hash of what its data contained when it was planned; "" where unknown.
    """
    content = {
        "id": cell.id,
        "slug": cell.slug,
        "grid": grid,
        "coords": dict(coords),
        "spec": cell.spec(),
        "identity": cell.identity(),
        **({"data_sha256": data_sha256} if data_sha256 else {}),
    }
    try:
        known = read_json(run.cell, dict)
    except Damaged as error:  # everything in it is known here
        known = None
        set_aside(run.cell, error.why)
    if known is not None:
        content |= {
            key: known[key] for key, kind in (("grid", str), ("coords", dict)) if isinstance(known.get(key), kind)
        }
    if known != content:
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(run.cell, content)


def read_cell(run: Run) -> Cell:
    """Read the cell of a run's directory.

    Raises:
        BenchError: if it holds none, or one of another version.
    """
    try:
        spec = read_json(run.cell)["spec"]
    except (ValueError, TypeError, KeyError):
        raise BenchError(f"{run.cell}: missing or damaged; run the grid again") from None
    return Cell.from_spec(spec, str(run.cell))


def data_of(run: Run) -> str:
    """Return the hash of what a run's data contained when it was planned; "" where that wasn't recorded."""
    try:
        return str((read_json(run.cell, dict) or {}).get("data_sha256") or "")
    except Damaged:
        return ""
