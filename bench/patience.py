"""Opening files whatever lies in their place, on file systems that may be away for a moment.

What passes is waited for, and never taken for an absence; what is no file, or far too large, is never waited for.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from bench.errors import Damaged, causes

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
# Bytes of files that are read as a whole, at most: of JSON and lists; and of images, a grid's summary, a run's metrics.
SMALL, LARGE = 64 << 20, 1 << 30
NO_FILE = "can't be read"
_ERRORS = {errno.EISDIR: "a folder", errno.ELOOP: "a circle of links", errno.ENXIO: "a FIFO, a socket or a device"}
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


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


def open_file(path: Path, mode: Literal["rb", "ab", "a+b"] = "rb", largest: int | None = None) -> io.FileIO:
    """Open a regular file, unbuffered; what isn't one never blocks: a FIFO, a device, a folder, a link to nothing.

    Args:
        path: the file.
        mode: those that append make a file where there is none.
        largest: bytes above which it can't be what was written; None for any size.

    Raises:
        Damaged: if something else lies there, or it is larger.
        OSError: where there is no such file, or it can't be opened.
    """
    return open(path, mode, buffering=0, opener=lambda name, flags: _open(name, flags, largest)[0])


def _open(path: str, flags: int, largest: int | None) -> tuple[int, int]:
    """Open a regular file; return the descriptor and the size in bytes."""
    try:
        number = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ENOENT and os.path.islink(path):  # noqa: PTH114
            raise Damaged(path, "a link to nothing", NO_FILE) from None
        if error.errno in _ERRORS:
            raise Damaged(path, _ERRORS[error.errno], NO_FILE) from None
        raise
    found = os.fstat(number)
    if stat.S_ISREG(found.st_mode) and (largest is None or found.st_size <= largest):
        return number, found.st_size
    os.close(number)
    if stat.S_ISREG(found.st_mode):
        raise Damaged(path, f"{found.st_size:,} bytes, of at most {largest:,}", NO_FILE)
    raise Damaged(path, _KINDS.get(stat.S_IFMT(found.st_mode), "no file"), NO_FILE)


def read_bytes(path: Path, largest: int = SMALL) -> bytes:
    """Return the content of a file that is small; see :func:`open_file`, which never blocks.

    Args:
        path: the file.
        largest: its size in bytes at most.

    Raises:
        Damaged: if something else than a file lies there, or it is larger.
        OSError: where there is no such file, or it can't be read.
    """
    return patiently(lambda: _read_whole(os.fspath(path), largest))


def _read_whole(path: str, largest: int) -> bytes:
    number, size = _open(path, os.O_RDONLY, largest)  # a third of the time of Path.read_bytes
    try:
        content = os.read(number, size + 1)
        while more := os.read(number, 1 << 20):  # it was longer than a read takes, or has just grown
            content += more
            if len(content) > largest:
                raise Damaged(path, f"more than {largest:,} bytes", NO_FILE)
    finally:
        os.close(number)
    return content


def exists(path: Path) -> bool:
    """Tell whether there is a file, or something else in its place; unlike ``Path.exists``, an error is no absence.

    A link to nothing is there: what it led to may come back.

    Raises:
        OSError: if that can't be told.
    """

    def look() -> bool:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    return patiently(look)
