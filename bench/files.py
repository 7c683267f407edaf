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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from bench.aside import set_aside
from bench.errors import Damaged
from bench.patience import LARGE, open_file, patiently, read_bytes
from bench.text import ESCAPE

REPOSITORY = Path(__file__).parents[1]  # the checkout that this code is from
T = TypeVar("T")
R = TypeVar("R")
WRITERS = 16  # threads that write small files at a time
DEEPEST = 64  # lists and objects within each other in a JSON file; what is written here has seven at most
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

    The directory entry is synced too, so that after a power cut either the old or the new file is there. A folder that lies
    at `path` is set aside. On an error the
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
        if path.is_dir() and not path.is_symlink():
            set_aside(path, "a folder")
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
    if path.is_file() and path.stat().st_size == len(content) and read_bytes(path, len(content)) == content:
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
    with open_file(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def parse_json(content: bytes, path: Path, kind: type[Any] | tuple[type[Any], ...] = object, nan: bool = False) -> Any:
    """Return a JSON text from a file that anybody may have changed.

    Args:
        content: the text.
        path: the file, for the message.
        kind: the Python types that the value may have, e.g. ``dict``.
        nan: NaN and infinity are numbers, too.

    Raises:
        Damaged: if it is no JSON, of another kind, or nested too deeply.
    """
    if not content:
        raise Damaged(path, "empty")
    try:
        value = (_WITH_NAN if nan else _STRICT).decode(content.decode())
    except RecursionError:
        raise Damaged(path, "nested too deeply") from None
    except ValueError as error:
        raise Damaged(path, f"not JSON ({error})") from None
    if not isinstance(value, kind):
        raise Damaged(path, f"not what belongs there (a JSON {_JSON_TYPES.get(type(value), 'value')})")
    if content.count(b"[") + content.count(b"{") > DEEPEST and _too_deep(value):
        raise Damaged(path, "nested too deeply")
    return value


_JSON_TYPES = {dict: "object", list: "list", str: "text", int: "number", float: "number", type(None): "null"}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


_WITH_NAN, _STRICT = json.JSONDecoder(), json.JSONDecoder(parse_constant=_no_constant)  # making one takes longest


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [child for one in inner for child in one if type(child) in (dict, list)]
        if not level:
            return False
    return True


def read_json(path: Path, kind: type[Any] | tuple[type[Any], ...] = object) -> Any:
    """Read a JSON file, or return None where there is none; see :func:`parse_json`.

    Raises:
        Damaged: if its content, or what lies there, isn't what was written.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return None
    return parse_json(content, path, kind)


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
    with open_file(path, "a+b", LARGE) as file:
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
    with open_file(path) as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON-lines file; a last line that a killed writer left unfinished is passed over.

    Raises:
        Damaged: at a line that is no JSON object, or at once where no file lies there; nothing where there is none.
    """
    try:
        text = read_bytes(path, LARGE)
    except FileNotFoundError:
        return
    for line in text.split(b"\n")[:-1]:
        yield parse_json(line, path, dict, nan=True)


def sound_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON-lines file that can be read; none where there is none, or no file in its place."""
    try:
        lines = read_bytes(path, LARGE).split(b"\n")[:-1]
    except (OSError, Damaged):
        return []
    found = []
    for line in lines:
        with suppress(Damaged):
            found.append(parse_json(line, path, dict, nan=True))
    return found


def remove_leftovers(directory: Path, recursive: bool = False) -> None:
    """Remove the temporary files of writers that were killed. Call it only as the directory's owner."""
    for path in directory.rglob(".*.tmp") if recursive else directory.glob(".*.tmp"):
        with suppress(IsADirectoryError):
            path.unlink(missing_ok=True)


RESERVE = 64 << 10  # bytes


@contextmanager
def reserve(directory: Path) -> Iterator[None]:
    """Keep some space in a directory while the context lasts, so that its end can be recorded on a full disk."""
    path = directory / ".reserve"
    try:
        write_atomically(path, lambda file: _write(file, b"\1" * RESERVE), sync=False)
    except OSError:  # full already: whoever writes next will say so
        release_reserve(directory)
    try:
        yield
    finally:
        release_reserve(directory)


def release_reserve(directory: Path) -> None:
    """Free the space again."""
    with suppress(IsADirectoryError):
        (directory / ".reserve").unlink(missing_ok=True)
