"""Results for notebooks: a grid's runs as one pandas frame with all hyperparameters, curves, IoU per class, predictors.

``import bench.api`` in a checkout. Nothing here needs the data, or writes anything but caches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.errors import BenchError, unknown
from bench.files import REPOSITORY, read_json
from bench.plan.request import Request
from bench.plan.summary import find_summary
from bench.report import frame as report_frame
from bench.report.curves import read_curves, read_logged
from bench.store.run import Run
from bench.store.schema import check_schema

if TYPE_CHECKING:
    from bench.export.sources import Trained

FRAME_VERSION = 1  # raised when a column of docs/taking-away.md changes its name or its meaning, or goes
HYPERPARAMETER = "hp."  # begins the names of columns of hyperparameters


def request(
    grid: str | Path, store: str | Path | None = None, data: Sequence[str] = (), sets: Sequence[str] = ()
) -> Request:
    """Return what the command line makes of a grid: its name or file, the store, ``NAME=DIR`` and ``KEY=VALUE``.

    Raises:
        BenchError: if a newer version has written the store.
    """
    place = Path(store or os.environ.get("BENCH_STORE") or REPOSITORY / "results" / "runs")
    check_schema(place)
    return Request(str(grid), tuple(sets), tuple(data), place)


def frame(
    grid: str | Path, store: str | Path | None = None, data: Sequence[str] = (), sets: Sequence[str] = ()
) -> pd.DataFrame:
    """Return one row per run of a grid, in its order, trials of a tuned grid first; also while it still runs.

    Columns are those of ``table --runs``, then ``hp.KEY`` for every key of the resolved recipe, dotted as in a grid
    (``hp.optimizer.lr``), whether the grid names it or not; a list is JSON text, a key that a run lacks is missing.
    ``attrs`` hold `version` (:data:`FRAME_VERSION`), `grid` and `select`, the headline rule.

    Args:
        grid, store, data, sets: see :func:`request`.

    Raises:
        BenchError: for a grid that can't be planned.
    """
    asked = request(grid, store, data, sets)
    summary = find_summary(asked)
    cells = [*summary.trials, *summary.cells]
    found = report_frame.load(asked.store, cells)
    specs = [_spec(Run(asked.store / cell.id)) or summary.identity(cell) for cell in cells]
    keys = pd.DataFrame([dict(_flat(spec)) for spec in specs], index=found.index).add_prefix(HYPERPARAMETER)
    whole: pd.DataFrame = pd.concat([found, keys], axis=1)
    whole.attrs.update(version=FRAME_VERSION, grid=summary.name, select=summary.select)
    return whole


def _spec(run: Run) -> Mapping[str, Any] | None:
    try:
        known = read_json(run.cell)
    except ValueError:
        return None
    spec = known.get("spec") if isinstance(known, dict) else None
    return spec if isinstance(spec, dict) else None


def _flat(spec: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", json.dumps(value) if isinstance(value, list) else value


def curves(grid: str | Path, of: str | None = None, store: str | Path | None = None) -> pd.DataFrame:
    """Return the mIoU in % of each evaluation of each run, or a loss or another logged quantity: `id`, `step`, `value`.

    Args:
        grid, store: see :func:`request`.
        of: name of a loss or of what else methods log; None is mIoU.

    Raises:
        BenchError: where no run logged such a quantity.
    """
    asked = request(grid, store)
    ids = [cell.id for cell in find_summary(asked).cells]
    found = read_curves(asked.store, ids) if of is None else read_logged(asked.store, ids, of)
    rows = [(name, step, value) for name, curve in found.items() for step, value in curve.items()]
    return pd.DataFrame(rows, columns=["id", "step", "value"])


def per_class(grid: str | Path, rule: str = "last", store: str | Path | None = None) -> pd.DataFrame:
    """Return the IoU in % of each class of each finished run: rows are ids, columns classes; missing for an absent class.

    Raises:
        BenchError: where no evaluation is of such a rule.
    """
    runs = frame(grid, store)
    if f"iou_{rule}" not in runs:
        raise unknown("rule", rule, [str(name).removeprefix("iou_") for name in runs if str(name).startswith("iou_")])
    done = runs[runs["state"] == "done"]
    rows = {
        row["id"]: dict(zip(json.loads(row["classes"]), json.loads(row[f"iou_{rule}"]), strict=True))
        for _, row in done.iterrows()
        if row[f"iou_{rule}"]
    }
    return pd.DataFrame.from_dict(rows, orient="index", dtype="float64")


def predictor(run: str | Path, which: str = "last") -> Trained:
    """Return what predicts of a run's directory, or of a folder that `export` wrote: ``predictor(RUN).predict(image)``.

    Raises:
        BenchError: if there is no such folder, or the run isn't done, or has no such weights.
    """
    from bench.data.roots import DataRoots
    from bench.export.sources import exported_folder, open_trained

    folder = exported_folder(str(run))
    if folder is None and not Path(run).is_dir():
        raise BenchError(f"{run}: no such folder; a run's directory is meant, or one that `export` wrote")
    return open_trained(folder or Run(Path(run)), which, DataRoots())
