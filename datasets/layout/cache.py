"""A cache on disk for what is slow to compute from a dataset. Losing it costs time only."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.files import cache_dir, read_json, write_json

Presence = dict[str, frozenset[int]]


def presence_key(content: Sequence[str], size: tuple[int, int] | None, classes: int) -> str:
    """Return a hash of all that decides which classes are present per image.

    Args:
        content: the hashes of each image's files, in the order of the ids.
        size: to which masks are prepared.
        classes: their number.
    """
    return hashlib.sha256(json.dumps(["presence-2", list(content), size, classes]).encode()).hexdigest()


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
