"""Files written so that a kill or a power cut leaves either the old content or the new one.

Whole files go to a temporary file, which is synced, then renamed. JSON-lines files are appended to, one line a write, and
synced before anything else counts on their length.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

REPOSITORY = Path(__file__).parents[1]  # the checkout that this code is from


def write_atomically(
    path: Path, write: Callable[[BinaryIO], None], before_rename: Callable[[], None] | None = None
) -> None:
    """Call `write` on a temporary file beside `path`, sync it, call `before_rename` and rename it to `path`.

    The directory entry is synced too, so that after a power cut either the old or the new file is there. On an error the
    temporary file is removed and `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if before_rename is not None:
            before_rename()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write `value` as JSON, atomically; NaN and infinity are refused, because other readers would refuse them."""
    text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, lambda file: _write(file, f"{text}\n"))


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode())


def read_json(path: Path) -> Any:
    """Read a JSON file, or return None where there is none.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line to a JSON-lines file, whole or not at all, as far as the file system allows.

    A write that the system cuts short is completed; where that fails, what got in is taken back.

    Raises:
        OSError: if the line can't be written.
    """
    line = json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        start = file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):
                written += file.write(line[written:]) or 0
        except BaseException:
            file.truncate(start)
            raise


def sync(path: Path) -> int:
    """Bring what was appended to a file onto the disk; return the file's length in bytes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON-lines file; a last line that a killed writer left unfinished is passed over."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    for line in text.split(b"\n")[:-1]:
        yield json.loads(line)


def remove_leftovers(directory: Path) -> None:
    """Remove the temporary files of writers that were killed. Call it only as the directory's owner."""
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


RESERVE = 64 << 10  # bytes


@contextmanager
def reserve(directory: Path) -> Iterator[None]:
    """Keep some room in a directory while the context lasts, so that a full disk can't swallow the word about it."""
    path = directory / ".reserve"
    try:
        path.write_bytes(b"\1" * RESERVE)
    except OSError:  # full already: whoever writes next will say so
        path.unlink(missing_ok=True)
    try:
        yield
    finally:
        release_reserve(directory)


def release_reserve(directory: Path) -> None:
    """Give the room back."""
    (directory / ".reserve").unlink(missing_ok=True)
