"""Looking at files on file systems that are away for a moment: what passes is waited for, and never taken for an absence."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# What a file system answers that is away for a moment: nothing is wrong with the file, nor with who asks for it.
AWAY = frozenset(
    (
        *(errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.ECONNRESET),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ESHUTDOWN),
    )
)
PAUSES = (0.2, 1.0, 3.0)  # seconds between attempts


def is_away(error: BaseException) -> bool:
    """Tell whether an error says that a file system is away for a moment."""
    return isinstance(error, OSError) and error.errno in AWAY


def patiently(attempt: Callable[[], T]) -> T:
    """Call `attempt`, and again after a pause where the file system is away.

    Raises:
        OSError: any other error at once; one of :data:`AWAY` when four attempts in four seconds have had it.
    """
    for pause in PAUSES:
        try:
            return attempt()
        except OSError as error:
            if not is_away(error):
                raise
        time.sleep(pause)
    return attempt()


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        OSError: where there is no such file, or it can't be read.
    """
    return patiently(path.read_bytes)


def exists(path: Path) -> bool:
    """Tell whether there is a file; unlike ``Path.exists``, an error is no absence.

    Raises:
        OSError: if that can't be told.
    """

    def look() -> bool:
        try:
            os.stat(path)  # noqa: PTH116 - Path.exists hides errors, on some versions of Python all of them
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    return patiently(look)
