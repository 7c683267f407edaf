"""What was found out about files, kept in the cache on disk by their size and times of change. Losing it costs time only."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from bench.files import cache_dir, file_digest, read_json, write_json
from datasets.base import Progress
from datasets.layout.files import on_threads

# A file changed so shortly before it was read may change again within the same tick of the file system's clock.
_SETTLED_NS = 2_000_000_000
DIGITS = 32  # hexadecimal digits of SHA-256 that are kept per file
T = TypeVar("T")
Stamp = list[int]  # size in bytes, times of change of content and of inode in ns


def stamp_of(path: Path) -> Stamp | None:
    """Return a file's size and times of change; None where there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 (the whole time of an unchanged dataset; Path.stat takes twice as long)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def name_in(root: Path, path: Path) -> str:
    """Return a file's path in a folder; its whole path where it lies elsewhere."""
    return str(path).removeprefix(f"{root}{os.sep}")  # os.path.relpath takes most of the time of an unchanged dataset


class Known(Generic[T]):
    """One thing known of each of a folder's files, such as its hash.

    Args:
        root: the folder.
        kind: what is known, with all that decides it besides the file: it names the cache's file.
        find: looks at a file and returns what is kept of it, JSON types; None isn't kept.
        parse: makes of it what :meth:`of` returns; raises TypeError, ValueError or KeyError where it is something else.
    """

    def __init__(
        self, root: Path, kind: str, find: Callable[[Path], JsonValue], parse: Callable[[JsonValue], T]
    ) -> None:
        self._root, self._find, self._parse = root, find, parse
        digest = hashlib.sha256(f"{root.absolute()}\0{kind}".encode()).hexdigest()[:24]
        self._path = cache_dir() / "files" / f"{digest}.json"
        try:
            self._kept: dict[str, Any] = dict(read_json(self._path) or {})
        except (ValueError, TypeError, OSError):
            self._kept = {}

    def of(self, paths: Iterable[Path], progress: Progress | None = None) -> dict[Path, T | None]:
        """Return what is known of each file; None where there is no file.

        Args:
            paths: files of the folder.
            progress: called with (done, total) files, of those that changed since they were last looked at.
        """
        stamps = {path: stamp_of(path) for path in paths}
        found = {path: self._recall(path, stamp) for path, stamp in stamps.items() if stamp is not None}
        todo = [path for path, value in found.items() if value is None]
        changed = False
        for path, raw in zip(todo, on_threads(self._find, todo, progress), strict=True):
            found[path] = None if raw is None else self._parse(raw)
            stamp = stamps[path]
            if stamp is not None and raw is not None and time.time_ns() - max(stamp[1:]) > _SETTLED_NS:
                self._kept[name_in(self._root, path)] = [stamp, raw]
                changed = True
        if changed:
            self._keep()
        return {**dict.fromkeys(stamps), **found}

    def _recall(self, path: Path, stamp: Stamp) -> T | None:
        try:
            then, raw = self._kept[name_in(self._root, path)]
            return self._parse(raw) if list(then) == stamp else None
        except (KeyError, TypeError, ValueError):
            return None

    def _keep(self) -> None:
        """Write what is known; a cache that can't be written costs time only."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._kept, indent=None)
        except OSError:
            return


def hashes_of(root: Path, paths: Iterable[Path], progress: Progress | None = None) -> dict[Path, str | None]:
    """Return the first digits of each file's SHA-256, None where there is no file; paths lie in the folder."""
    return Known(root, f"SHA-256, {DIGITS} digits", _digest, _text).of(paths, progress)


def _digest(path: Path) -> JsonValue:
    try:
        return file_digest(path)[:DIGITS]
    except FileNotFoundError:
        return None


def _text(raw: JsonValue) -> str:
    if not isinstance(raw, str):
        raise TypeError("not a hash")
    return raw
