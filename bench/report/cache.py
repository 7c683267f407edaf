"""The rows of a store's runs, kept in a Parquet file and read again only where a run changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.files import write_atomically
from bench.patience import patiently
from bench.report import environment
from bench.report import rows as run_rows
from bench.store.liveness import current_state
from bench.store.run import Run, State

CACHE = Path(".cache", "frame.parquet")
# Raise it when the meaning of a column changes, so that caches written before are rebuilt.
CACHE_FORMAT = b"7"

# A run is read again when one of these differs: (mtime in ns, size in bytes, inode) of the files that mark a change.
# The inode tells two files apart that were renamed into place within one tick of the file system's clock.
# rounding.json is written only right before a line of attempts.jsonl; one look less per run makes a load a fifth faster.
# Of a run with a result, its folder's stamp stands for its other files: it changes when one is replaced or removed.
# Not when one grows, as attempts.jsonl does. A run without a result writes into its folder all the time.
_STAMPED = ("state.json", "result.json", environment.FILES[0], "")
_STAMPS = [f"{file}:{part}" for file in _STAMPED for part in ("mtime", "size", "inode")]
_ARROW = {"number": pa.float64(), "text": pa.string(), "json": pa.string()}
_SCHEMA = pa.schema(
    [pa.field("id", pa.string())]
    + [pa.field(name, pa.int64()) for name in _STAMPS]
    + [pa.field(name, _ARROW[field.type]) for name, field in run_rows.FIELDS.items()],
    metadata={b"format": CACHE_FORMAT},
)
Stamps = NDArray[np.int64]


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        # Twice as fast as Path.stat, and most of the time of a warm load.
        status = patiently(partial(os.stat, path))
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _marks(run: str) -> tuple[int, ...]:
    state, result, attempts, folder = (f"{run}/{file}" for file in _STAMPED)
    found = _stamp(result)
    return (*_stamp(state), *found, *_stamp(attempts), *(_stamp(folder) if any(found) else (0, 0, 0)))


def _directories(store: Path) -> set[str]:
    try:
        with os.scandir(store) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()


def _stamps(store: Path, ids: Sequence[str], present: set[str]) -> Stamps:
    """Return the stamps of all runs, (N, 12); zeros where there is no file."""
    nothing = (0,) * len(_STAMPS)
    parts = [part for name in ids for part in (_marks(f"{store}/{name}") if name in present else nothing)]
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


def _refresh(store: Path, ids: Sequence[str], cache: pa.Table, present: set[str]) -> pa.Table:
    """Return the rows of `ids` in their order, and keep the cache up to date."""
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


def _as_they_are(store: Path, ids: Sequence[str], table: pa.Table, present: set[str]) -> pa.Table:
    """Return the rows with the states of today.

    The files of a row don't tell whether a process still lives or a job waits for the cell; a run that is done needs
    neither, and one without a directory has neither.
    """
    states, reasons = table["state"].to_pylist(), table["reason"].to_pylist()
    for i, name in enumerate(ids):
        if states[i] not in (State.DONE.value, State.DAMAGED.value) and name in present:
            now = current_state(Run(store / name))
            if now["state"] in run_rows.STATES:
                states[i], reasons[i] = now["state"], run_rows.one_line(str(now.get("reason") or ""))
    for name, values in (("state", states), ("reason", reasons)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return table


def load_rows(store: Path, ids: Iterable[str], refresh: bool = False) -> pa.Table:
    """Return one row per run, in the order of `ids`, with the columns of :data:`bench.report.rows.FIELDS`.

    Args:
        store: the run store; it need not exist.
        ids: names of run directories.
        refresh: ignore the cache and read every run again.

    The cache, `STORE/.cache/frame.parquet`, is written whole and renamed; a damaged one is built again.
    """
    names, present = list(ids), _directories(store)
    cache = _SCHEMA.empty_table() if refresh else _read_cache(store / CACHE)
    table = _refresh(store, names, cache, present).select(list(run_rows.FIELDS))
    return _as_they_are(store, names, table, present)
