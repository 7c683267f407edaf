"""The runs of a grid as one pandas frame: all that was recorded of each, for `table --runs`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.report import environment
from bench.report.cache import load_rows
from bench.report.records import axes, coordinates
from bench.report.rows import ENVIRONMENT
from bench.store.summary import CellSummary


def load(store: Path, cells: Sequence[CellSummary], refresh: bool = False) -> pd.DataFrame:
    """Return one row per planned cell, in the grid's order.

    Args:
        store: the run store; a cell's run is the directory named by the cell's id. It need not exist.
        cells: planned cells.
        refresh: ignore the cache and read every run again.

    Returns:
        The cell's id, slug, order and coordinates (text; the seed an integer), then the columns of
        :data:`bench.report.rows.FIELDS` and of :data:`bench.report.environment.FACTS`. mIoU, IoU and pixel accuracy are
        in %, times in seconds, memory in bytes.
    """
    names = axes(cells)
    columns: dict[str, list[str] | list[int]] = {
        "id": [cell.id for cell in cells],
        "slug": [cell.slug for cell in cells],
        "order": [cell.order for cell in cells],
    }
    coords = [coordinates(cell, names) for cell in cells]
    columns |= {name: [str(place[name]) for place in coords] for name in names}
    columns["seed"] = [int(place["seed"]) for place in coords]
    values = load_rows(store, (cell.id for cell in cells), refresh).to_pandas()
    facts = environment.columns(values.pop(ENVIRONMENT))
    own = {name: facts[name] for name in facts if name not in values}
    frame: pd.DataFrame = pd.concat([pd.DataFrame(columns), values, pd.DataFrame(own)], axis=1)
    planned = pd.Series([cell.iterations for cell in cells], dtype="float64")
    frame["iterations"] = planned.fillna(frame["iterations"])
    return frame
