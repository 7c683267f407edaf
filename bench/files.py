"""Files written so that a kill or a power cut leaves either the old content or the new one.

Whole files go to a temporary file, which is synced, then renamed. JSON-lines files are appended to, one line a write, and
synced before anything else counts on their length.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from bench.patience import patiently, read_bytes
from bench.text import ESCAPE

REPOSITORY = Path(__file__).parents[1]  # the checkout that this code is from
T = TypeVar("T")
R = TypeVar("R")
WRITERS = 16  # threads that write small files at a time
LONGEST = 120  # bytes of a name from outside in a file's name, which may have 255


def concurrently(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call `work` for each item, several at a time, and return what they return, in order.

    For many small files: each write waits for the disk most of its time.
    """
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(work, items))


def short_name(name: str, longest: int = LONGEST) -> str:
    """Return a name from outside as (part of) a file's name: one of more bytes is cut, and told apart by a hash."""
    whole = os.fsencode(name)
    if len(whole) <= longest:
        return name
    return f"{whole[: longest - 13].decode(errors='ignore')}-{hashlib.sha256(whole).hexdigest()[:12]}"


def write_atomically(
    path: Path, write: Callable[[BinaryIO], None], before_rename: Callable[[], None] | None = None, *, sync: bool = True
) -> None:
    """Call `write` on a temporary file beside `path`, sync it, call `before_rename` and rename it to `path`.

    The directory entry is synced too, so that after a power cut either the old or the new file is there. On an error the
    temporary file is removed and `path` is as it was; a file system that is away for a moment is asked again. What a killed
    process leaves is removed by `remove_leftovers`.

    Args:
        path: the file.
        write: writes the content; called again, on another file, after an error that passes.
        before_rename: may raise, and `path` is then as it was.
        sync: False for files that are made by the thousand and can be made again: whole or absent after the process was
            killed, but not after a power cut.
    """
    patiently(lambda: _write_whole(path, write, before_rename, sync))


def _write_whole(
    path: Path, write: Callable[[BinaryIO], None], before_rename: Callable[[], None] | None, sync: bool
) -> None:
    temporary = path.with_name(f".{short_name(path.name)}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if before_rename is not None:
            before_rename()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring the entries of a directory onto the disk: files that were renamed into it are there after a power cut."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_if_changed(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file atomically, and its folder where there is none; a file that has this content already stays as it is."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: _write(file, content), sync=sync)


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write `value` as JSON, atomically; NaN and infinity are refused, because other readers would refuse them."""
    text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, lambda file: _write(file, f"{text}\n".encode(errors=ESCAPE)))


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def cache_dir() -> Path:
    """Return the folder of caches: ``$BENCH_CACHE``, else ``~/.cache/semisegbench``."""
    return Path(os.environ.get("BENCH_CACHE") or "~/.cache/semisegbench").expanduser()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content in hex, by an algorithm of ``hashlib``; read a MiB at a time."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file, or return None where there is none.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return json.loads(read_bytes(path))
    except FileNotFoundError:
        return None


def append_jsonl(path: Path, row: Mapping[str, Any], *, sync: bool = False) -> None:
    """Append one line to a JSON-lines file that no other process writes, whole or not at all.

    A write that the system cuts short is completed; where that fails, what got in is taken back. Half a line that a killed
    process has left goes first.

    Args:
        path: the file.
        row: its content.
        sync: bring the line onto the disk at once.

    Raises:
        OSError: if the line can't be written.
    """
    line = json.dumps(row, sort_keys=True, ensure_ascii=False).encode(errors=ESCAPE) + b"\n"
    patiently(lambda: _append(path, line, sync))


def _append(path: Path, line: bytes, sync: bool) -> None:
    with path.open("a+b", buffering=0) as file:
        start = _end_of_lines(file)
        try:
            rest = memoryview(line)
            while rest and (written := file.write(rest)):
                rest = rest[written:]
            if (length := os.fstat(file.fileno()).st_size) != start + len(line):
                raise OSError(errno.EIO, f"{length - start} bytes of {len(line)} were appended", str(path))
            if sync:
                os.fsync(file.fileno())
        except BaseException:
            file.truncate(start)
            raise


def _end_of_lines(file: io.FileIO) -> int:
    """Cut off what stands after the last end of a line, and return the length that is left."""
    end = file.seek(0, os.SEEK_END)
    if end == 0 or os.pread(file.fileno(), 1, end - 1) == b"\n":
        return end
    start = os.pread(file.fileno(), end, 0).rfind(b"\n") + 1
    file.truncate(start)
    return start


def sync(path: Path) -> int:
    """Bring what was appended to a file onto the disk; return the file's length in bytes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON-lines file; a last line that a killed writer left unfinished is passed over."""
    try:
        text = read_bytes(path)
    except FileNotFoundError:
        return
    for line in text.split(b"\n")[:-1]:
        yield json.loads(line)


def remove_leftovers(directory: Path, recursive: bool = False) -> None:
    """Remove the temporary files of writers that were killed. Call it only as the directory's owner."""
    for path in directory.rglob(".*.tmp") if recursive else directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


RESERVE = 64 << 10  # bytes


@contextmanager
def reserve(directory: Path) -> Iterator[None]:
    """Keep some space in a directory while the context lasts, so that its end can be recorded on a full disk."""
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
    """Free the space again."""
    (directory / ".reserve").unlink(missing_ok=True)
