"""What an exception means for a run: its state, and the reason in one line."""

from __future__ import annotations

import errno

from bench.errors import BenchError
from bench.store.run import State

_FULL = (errno.ENOSPC, errno.EDQUOT)
# What a file system answers that is away for a moment: nothing is wrong with the cell, which goes on later.
_AWAY = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.EHOSTDOWN)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that memory, of the host or of a device, has run out."""
    named = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return named or "can't allocate memory" in str(error)


def classify(error: Exception) -> tuple[State, str]:
    """Return the state and the one-line reason for an exception."""
    text = " ".join(str(error).split())[:500]
    reason = text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"
    if is_out_of_memory(error):
        return State.OUT_OF_MEMORY, reason
    if isinstance(error, OSError) and error.errno in _FULL:
        return State.FAILED, f"the disk is full: {reason}"
    if isinstance(error, OSError) and error.errno in _AWAY:
        return State.PREEMPTED, f"the file system did not answer ({reason}); run again to go on"
    return State.FAILED, reason
