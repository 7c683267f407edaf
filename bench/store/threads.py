"""How many threads the cells of a grid have: decided once per grid and store, because sums depend on it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.files import read_json, short_name, write_json
from bench.store.job import Job
from bench.store.run import Run


def _file(store: Path, grid: str) -> Path:
    return store / ".grids" / f"{short_name(grid)}.json"


def _number(path: Path) -> int:
    """Return the number of threads that a file has; 0 where there is none, or the file is damaged."""
    try:
        content: Any = read_json(path)
    except (OSError, ValueError):
        return 0
    found = content.get("threads") if isinstance(content, dict) else None
    return found if isinstance(found, int) and found > 0 else 0


def _keep(path: Path, threads: int) -> int:
    """Write the number down, unless another process was faster; return the one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{socket.gethostname()}-{os.getpid()}.tmp")
    write_json(mine, {"threads": threads})
    try:
        os.link(mine, path)  # fails where there is one
    except OSError:
        if not _number(path):  # a damaged one, or a file system without links
            mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)
    return _number(path) or threads


def threads_of(store: Path, grid: str, ids: Iterable[str], wanted: int, otherwise: int) -> int:
    """Return the threads of the cells of a grid that start now.

    It is what the grid asks for (``resources.threads``), else what its first ``run`` or ``submit`` in this store used:
    ``STORE/.grids/GRID.json`` keeps it; in a store of an earlier version the first of its runs that has begun knows it. So
    neither the number of workers nor another machine changes it.

    Args:
        store: the run store.
        grid: the grid's name.
        ids: its cells.
        wanted: ``resources.threads``; 0 asks for nothing.
        otherwise: where this is the first time.
    """
    path = _file(store, grid)
    kept = _number(path)
    if not kept:
        begun = next(filter(None, (_number(Run(store / name).rounding) for name in ids)), otherwise)
        kept = _keep(path, wanted or begun)
    return wanted or kept


def with_threads(jobs: Sequence[Job], grid: str, ids: Iterable[str], otherwise: int) -> list[Job]:
    """Return jobs of one grid with the number of threads that their cells have, see :func:`threads_of`."""
    if not jobs:
        return []
    first = jobs[0]
    threads = threads_of(Path(first.store), grid, ids, first.resources.get("threads", 0), otherwise)
    return [replace(job, resources={**job.resources, "threads": threads}) for job in jobs]
