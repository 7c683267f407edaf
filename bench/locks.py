"""Locks on files (flock): taken, asked for, and tried out on file systems that may have none."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import IO, Any

from bench.errors import BenchError, Damaged
from bench.patience import is_away, open_file, patiently

HELD = (errno.EWOULDBLOCK, errno.EACCES)  # somebody else has the lock


def _flock(file: IO[Any], operation: int) -> bool:
    """Call flock without waiting; return whether it was granted.

    Raises:
        OSError: where the file system has no locks.
    """

    def ask() -> bool:
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                return False
            raise
        return True

    return patiently(ask)


def lock(file: IO[Any], seconds: float = 0.0) -> bool:
    """Take the lock of an open file for this process alone; it is released when the file is closed, or the process ends.

    Args:
        file: open, with the path as its name.
        seconds: how long somebody else is waited for.

    Returns:
        False where somebody else has it.

    Raises:
        BenchError: if the file system has no locks.
    """
    deadline = time.monotonic() + seconds
    try:
        while not _flock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    except OSError as error:
        if is_away(error):
            raise
        raise BenchError(f"{file.name}: {_none(error)}") from None
    return True


def is_locked(path: Path) -> bool:
    """Tell whether a process that shares locks with this machine has the lock of a file.

    Where there is no such file, or the file system has no locks, nobody has.
    """
    try:
        with open_file(path) as file:
            return not _flock(file, fcntl.LOCK_SH)
    except Damaged:
        return False
    except OSError as error:
        if is_away(error):
            raise
        return False


@cache
def have_locks(folder: Path) -> bool:
    """Tell whether locks work in a folder, tried once per process; where that can't be tried, they are taken to."""
    try:
        return problem(folder) is None
    except OSError:
        return True


def problem(folder: Path) -> str | None:
    """Try locks out on the file system of a folder.

    Returns:
        None where they work, as far as one machine can tell; else why not, in one line.

    Raises:
        OSError: if nothing can be written there.
    """
    number, name = tempfile.mkstemp(prefix=".lock-", suffix=".tmp", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(number, "w") as file:
            _flock(file, fcntl.LOCK_EX)
            with path.open("rb") as other:
                if _flock(other, fcntl.LOCK_SH):
                    return f"{folder}: its file system grants a lock to two at once: two processes may work on one cell"
    except OSError as error:
        if is_away(error):
            raise
        return f"{folder}: {_none(error)}"
    finally:
        path.unlink(missing_ok=True)
    return None


def _none(error: OSError) -> str:
    why = error.strerror or str(error)
    return f"its file system has no locks ({why}): put the store on one that has (--store, BENCH_STORE)"
