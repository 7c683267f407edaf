"""Whether anything still works on a grid: a ``run`` on this machine that says so in the store, or a cell that is open."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from bench.files import read_json, short_name
from bench.locks import is_locked, lock
from bench.store.run import Owner, State
from bench.store.status import StatusRow


def _folder(store: Path, grid: str) -> Path:
    return store / ".runs" / short_name(grid)


def _written(path: Path) -> bool:
    """Tell whether a file's owner has come so far as to lock it; it writes after that."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


@contextmanager
def grid_activity(store: Path, grid: str) -> Iterator[None]:
    """Say in the store that this process runs cells of a grid, as long as the context lasts.

    A file of its own, ``STORE/.runs/GRID/HOST-PID.lock``, is locked (flock) and holds host, process id and the time of the
    start; several processes may run cells of one grid. Files of processes that were killed are removed.

    Args:
        store: the run store.
        grid: the grid's name.

    Raises:
        BenchError: if the store's file system has no locks, without which nothing may run in it.
    """
    folder = _folder(store, grid)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"{socket.gethostname()}-*.lock"):  # other hosts' locks may not be visible from here
        if _written(path) and not is_locked(path):
            path.unlink(missing_ok=True)
    path = folder / f"{socket.gethostname()}-{os.getpid()}.lock"
    with path.open("w", encoding="utf-8") as file, _removed(path):
        lock(file, seconds=1.0)  # others only look
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}) + "\n")
        file.flush()
        yield


@contextmanager
def _removed(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def active(store: Path, grid: str) -> bool:
    """Tell whether a process runs cells of a grid now, even where none of its cells happens to be running."""
    return any(is_locked(path) for path in _folder(store, grid).glob("*.lock"))


def owners(store: Path, grid: str) -> list[Owner]:
    """Return the processes that run cells of a grid now, as far as they have said who they are."""
    found = []
    for path in sorted(_folder(store, grid).glob("*.lock")):
        with contextlib.suppress(OSError, ValueError):
            owner = read_json(path) if is_locked(path) else None
            found += [cast(Owner, owner)] if isinstance(owner, dict) else []
    return found


def is_open(row: StatusRow) -> bool:
    """Tell whether a cell goes on without a further command: it runs, or a job that will run it is in a queue.

    Args:
        row: of a grid's status; a backend has added `in_queue` where a submission has the cell (None: it can't tell).
    """
    if row["state"] == State.RUNNING.value:
        return True
    waits = bool(row.get("submission")) and row.get("in_queue") is not False
    return waits and row["state"] in (State.QUEUED.value, State.PREEMPTED.value)
