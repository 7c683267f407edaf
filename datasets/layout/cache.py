"""A cache on disk for what is slow to compute from a dataset. Losing it costs time only."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.files import read_json, write_json

Presence = dict[str, frozenset[int]]


def cache_dir() -> Path:
    """Return the folder of caches: ``$BENCH_CACHE``, else ``~/.cache/semisegbench``."""
    return Path(os.environ.get("BENCH_CACHE") or "~/.cache/semisegbench").expanduser()


def fingerprint(paths: Iterable[Path], *facts: str | int | None) -> str:
    """Return a hash of `facts` and of each file's path, size and time of change; a missing file counts as such."""
    digest = hashlib.sha256(repr(facts).encode())
    for path in paths:
        try:
            stat = path.stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}\0missing\n".encode())
    return digest.hexdigest()


def _read(path: Path, ids: Sequence[str]) -> Presence | None:
    try:
        found = read_json(path)
        return {image_id: frozenset(map(int, found[image_id])) for image_id in ids}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, presence: Presence) -> None:
    with contextlib.suppress(OSError):  # a cache that can't be written is no reason to stop
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {image_id: sorted(found) for image_id, found in presence.items()}, indent=None)


def cached_presence(key: str, ids: Sequence[str], compute: Callable[[], Presence]) -> Presence:
    """Return the classes present per image, from the cache where `key` is there, else computed and kept."""
    path = cache_dir() / "presence" / f"{key}.json"
    found = _read(path, ids)
    if found is None:
        found = compute()
        _write(path, found)
    return found
