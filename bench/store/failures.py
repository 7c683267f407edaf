"""What an exception means for a run: its state, and the reason in one line."""

from __future__ import annotations

import errno

from bench.errors import BenchError
from bench.store.run import State


def classify(error: Exception) -> tuple[State, str]:
    """Return the state and the one-line reason for an exception."""
    text = " ".join(str(error).split())[:500]
    reason = text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in text:
        return State.OUT_OF_MEMORY, reason
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return State.FAILED, f"the disk is full: {reason}"
    return State.FAILED, reason
