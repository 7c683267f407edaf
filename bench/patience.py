"""Looking at files on file systems that are away for a moment: what passes is waited for, and never taken for an absence."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bench.errors import causes

T = TypeVar("T")

# What a file system answers that is away for a while: nothing is wrong with the file, nor with who asks for it.
AWAY = frozenset(
    (
        *(errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.ECONNRESET),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ESHUTDOWN),
        *(errno.EROFS, errno.ENODEV),
    )
)
# A server may come back within seconds. A file system that has become read-only doesn't; who computes waits longer for it
# (`bench.run.patience`), and who only looks at a store that was always read-only doesn't wait at all.
IN_SECONDS = AWAY - {errno.EROFS, errno.ENODEV}
_MISSING = (errno.ENOENT, errno.ENOTDIR)
PAUSES = (0.2, 1.0, 3.0)  # seconds between attempts


def away(error: BaseException, place: Path | None = None) -> OSError | None:
    """Return what says that a file system is away for a while: an error, or one that it came from; None where nothing does.

    Args:
        error: the error.
        place: a file that is always there: where it isn't, whatever is missing is the file system's fault.
    """
    return next((one for one in causes(error) if isinstance(one, OSError) and _says_away(one, place)), None)


def is_away(error: BaseException, place: Path | None = None) -> bool:
    """Tell whether an error says that a file system is away for a while; arguments as for :func:`away`."""
    return away(error, place) is not None


def _says_away(error: OSError, place: Path | None) -> bool:
    return error.errno in AWAY or (place is not None and error.errno in _MISSING and not os.path.exists(place))  # noqa: PTH110


def patiently(attempt: Callable[[], T]) -> T:
    """Call `attempt`, and again after a pause where the file system is away.

    Raises:
        OSError: any other error at once; one of :data:`IN_SECONDS` when four attempts in four seconds have had it.
    """
    for pause in PAUSES:
        try:
            return attempt()
        except OSError as error:
            if error.errno not in IN_SECONDS:
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
