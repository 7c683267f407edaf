"""The runs of a grid as one pandas frame, cached in Parquet and read again only where a run changed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.files import write_atomically
from bench.report import rows as run_rows
from bench.store.liveness import current_state
from bench.store.run import Run, State

CACHE = Path(".cache", "frame.parquet")
# Raise it when the meaning of a column changes, so that caches written before are rebuilt.
CACHE_FORMAT = b"1"

# A run is read again when one of these differs: (mtime in ns, size in bytes, inode) of the two files that mark a change.
# The inode tells two files apart that were renamed into place within one tick of the file system's clock.
_STAMPED = ("state.json", "result.json")
_STAMPS = [f"{file}:{part}" for file in _STAMPED for part in ("mtime", "size", "inode")]
_COORDS = ("dataset", "network", "method", "protocol", "labels", "seed")
_ARROW = {"number": pa.float64(), "text": pa.string(), "json": pa.string()}
_SCHEMA = pa.schema(
    [pa.field("id", pa.string())]
    + [pa.field(name, pa.int64()) for name in _STAMPS]
    + [pa.field(name, _ARROW[field.type]) for name, field in run_rows.FIELDS.items()],
    metadata={b"format": CACHE_FORMAT},
)
Stamps = NDArray[np.int64]


def axes(frame: pd.DataFrame) -> list[str]:
    """Return the names of the frame's coordinate columns: the axes of the grid, `seed` among them."""
    known = {"id", "slug", "order", "score", *run_rows.FIELDS}
    return [str(name) for name in frame.columns if name not in known]


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice as fast as Path.stat, and most of the time of a warm load
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _directories(store: Path) -> set[str]:
    try:
        with os.scandir(store) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()


def _stamps(store: Path, ids: Sequence[str], present: set[str]) -> Stamps:
    """Return the stamps of all runs, (N, 6); zeros where there is no file."""
    parts = [
        part
        for name in ids
        for file in _STAMPED
        for part in (_stamp(f"{store}/{name}/{file}") if name in present else (0, 0, 0))
    ]
    return np.array(parts, dtype=np.int64).reshape(len(ids), len(_STAMPS))


def _read_cache(path: Path) -> pa.Table:
    """Return the cached rows, or none where the cache is absent, damaged or of another version."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, ValueError, pa.ArrowException):
        return _SCHEMA.empty_table()
    same = table.schema.equals(_SCHEMA) and (table.schema.metadata or {}).get(b"format") == CACHE_FORMAT
    return table if same else _SCHEMA.empty_table()


def _write_cache(path: Path, table: pa.Table) -> None:
    # A store that can't be written to, such as a colleague's, is still a store that can be read.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: pq.write_table(table, file))


def _read(store: Path, ids: Sequence[str], stamps: Stamps, positions: Sequence[int]) -> pa.Table:
    rows = []
    for i in positions:
        row = run_rows.read(store / ids[i]) if stamps[i].any() else run_rows.EMPTY
        rows.append({"id": ids[i], **dict(zip(_STAMPS, stamps[i].tolist(), strict=True)), **row})
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _unchanged(cache: pa.Table, ids: Sequence[str], stamps: Stamps) -> NDArray[np.intp]:
    """Return for each run the row of the cache that still holds, or -1."""
    rows = {name: i for i, name in enumerate(cache["id"].to_pylist())}
    index = np.array([rows.get(name, -1) for name in ids], dtype=np.intp)
    cached = np.column_stack([cache[name].to_numpy() for name in _STAMPS])
    same = (cached[index] == stamps).all(axis=1) if len(cached) else np.zeros(len(ids), dtype=bool)
    return np.where(same & (index >= 0), index, -1)


def _refresh(store: Path, ids: Sequence[str], cache: pa.Table) -> pa.Table:
    """Return the rows of `ids` in their order, and keep the cache up to date."""
    present = _directories(store)
    stamps = _stamps(store, ids, present)
    index = _unchanged(cache, ids, stamps)
    changed = np.flatnonzero(index < 0).tolist()
    rows = _read(store, ids, stamps, changed)
    index[changed] = cache.num_rows + np.arange(len(changed))
    together = pa.concat_tables([cache, rows])
    names = together["id"].to_pylist()
    # Rows of other grids in this store stay, unless their directory is gone or they have just been read anew.
    fresh = {ids[i] for i in changed}
    keep = [name in present and (i >= cache.num_rows or name not in fresh) for i, name in enumerate(names)]
    if not all(keep[: cache.num_rows]) or any(keep[cache.num_rows :]):
        _write_cache(store / CACHE, together.filter(pa.array(keep, pa.bool_())))
    return together.take(pa.array(index))


def _coords(cells: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    names = dict.fromkeys([*_COORDS, *(name for cell in cells for name in cell["coords"])])
    columns: dict[str, list[Any]] = {key: [str(cell[key]) for cell in cells] for key in ("id", "slug")}
    columns["order"] = [cell.get("order", i) for i, cell in enumerate(cells)]
    for name in names:
        columns[name] = [run_rows.one_line(str(cell["coords"].get(name, ""))) for cell in cells]
    columns["seed"] = [int(cell["coords"]["seed"]) for cell in cells]
    return pd.DataFrame(columns)


def _see_running(store: Path, frame: pd.DataFrame) -> None:
    """Replace the state of runs that say they are running but whose process is gone, which no file tells."""
    for i in frame.index[frame["state"] == State.RUNNING.value]:
        state = current_state(Run(store / str(frame.at[i, "id"])))
        if state["state"] in run_rows.STATES:
            frame.loc[i, ["state", "reason"]] = [state["state"], run_rows.one_line(str(state.get("reason") or ""))]


def load(store: Path, cells: Sequence[Mapping[str, Any]], refresh: bool = False) -> pd.DataFrame:
    """Return one row per planned cell, in the grid's order.

    Args:
        store: the run store; a cell's run is the directory named by the cell's id. It need not exist.
        cells: planned cells, each `{"id", "slug", "coords": {axis: label}}`, and `iterations` where known.
        refresh: ignore the cache and read every run again.

    Returns:
        The cell's id, slug, order and coordinates (text; the seed an integer), then the columns of
        :data:`bench.report.run_rows.FIELDS`. mIoU, IoU and pixel accuracy are in %, times in seconds, memory in bytes.

    The cache, `STORE/.cache/frame.parquet`, is written whole and renamed; a damaged one is built again.
    """
    coords = _coords(cells)
    cache = _SCHEMA.empty_table() if refresh else _read_cache(store / CACHE)
    ids = [str(cell["id"]) for cell in cells]
    values = _refresh(store, ids, cache).select(list(run_rows.FIELDS)).to_pandas()
    frame: pd.DataFrame = pd.concat([coords, values], axis=1)
    planned = pd.Series([cell.get("iterations") for cell in cells], dtype="float64")
    frame["iterations"] = planned.fillna(frame["iterations"])
    _see_running(store, frame)
    return frame


def _evaluations(path: Path) -> Iterator[tuple[int, float]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        if b'"eval"' not in line:
            continue
        # A run killed while it wrote leaves half a line, which its resumed attempt writes again.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            yield int(entry["step"]), float(entry["eval"]["miou"])


def curves(store: Path, ids: Iterable[str]) -> pd.DataFrame:
    """Return the evaluations made during training: columns id, step (iterations), miou (%), sorted by step within a run.

    A step that a resumed run evaluated twice appears once, with the later value. Runs without metrics have no rows.
    """
    found = {name: dict(_evaluations(store / name / "metrics.jsonl")) for name in ids}
    rows = [(name, step, miou) for name, values in found.items() for step, miou in sorted(values.items())]
    frame = pd.DataFrame(rows, columns=["id", "step", "miou"])
    return frame.astype({"id": str, "step": "int64", "miou": "float64"})
