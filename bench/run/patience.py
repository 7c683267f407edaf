"""A store that can't be written for a while: its runs wait, and go on from their last checkpoint when it is back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from bench import streams
from bench.run.signals import Signals
from bench.store.run import Run

T = TypeVar("T")
LIMIT = 900.0  # seconds without a new step after which a run no longer waits
LONGEST = 60.0  # seconds between two looks, which begin at one second


def outlast(run: Run, attempt: Callable[[], T], away: Callable[[Exception], bool], signals: Signals) -> T:
    """Call `attempt` until it doesn't fail because the file system is away; wait longer each time, until a limit.

    Args:
        run: whose directory must be writable before the next attempt.
        attempt: goes on with the run.
        away: tells such failures.
        signals: that end the waiting.

    Raises:
        Exception: the last failure of that kind, or at once any other.
    """
    step, pause, since = -1, 1.0, time.monotonic()
    while True:
        try:
            return attempt()
        except Exception as error:
            now = _step(run, step)
            if now > step:
                step, pause, since = now, 1.0, time.monotonic()
            if not away(error) or not _came_back(run, pause, since + LIMIT, signals):
                raise
            streams.say(f"the store was away ({error}); going on")
            pause = min(2 * pause, LONGEST)


def _step(run: Run, known: int) -> int:
    try:
        return int(run.read_state().get("step") or 0)
    except (OSError, ValueError):
        return known


def _came_back(run: Run, pause: float, deadline: float, signals: Signals) -> bool:
    """Wait for a pause, and then until the run's directory can be written; tell whether it can."""
    until = time.monotonic() + pause
    while time.monotonic() < deadline and signals.received is None:
        time.sleep(min(1.0, pause))
        if time.monotonic() >= until:
            if _writable(run):
                return True
            pause = min(2 * pause, LONGEST)
            until = time.monotonic() + pause
    return False


def _writable(run: Run) -> bool:
    probe = run.path / f".probe-{os.getpid()}.tmp"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError:
        return False
    return True
