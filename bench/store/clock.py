"""The one clock by which times in a store are compared: its file system's. Those of nodes may differ by minutes."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path

ASKED_AGAIN = 30.0  # seconds

_asked: dict[Path, tuple[float, float]] = {}  # when a folder's file system was asked (monotonic), and what it said


def now(folder: Path) -> float:
    """Return the time by the clock of a folder's file system, which is also that of its files' times.

    Where nothing can be written, as in a colleague's store, it is this machine's clock.

    Args:
        folder: of the store.

    Returns:
        Seconds since the epoch.
    """
    at, said = _asked.get(folder, (0.0, 0.0))
    if not at or time.monotonic() - at > ASKED_AGAIN:
        at, said = time.monotonic(), _ask(folder)
        _asked[folder] = at, said
    return said + time.monotonic() - at


def _ask(folder: Path) -> float:
    path = folder / f".clock-{uuid.uuid4().hex[:8]}.tmp"
    try:
        path.write_bytes(b"\n")
        return path.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def age(path: Path, store: Path) -> float:
    """Return the seconds since a file of a store was written.

    Raises:
        OSError: if there is no such file.
    """
    return now(store) - path.stat().st_mtime
