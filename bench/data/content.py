"""What a cell's data contain: found when a grid is planned, kept in the store, and compared when a run starts or is read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.roots import DataRoots, name_of, open_dataset
from bench.errors import BenchError
from bench.files import cache_dir, read_json, write_json
from bench.spec.cell import Part, canonical
from bench.store.contents import changes
from bench.yaml import RawView

if TYPE_CHECKING:
    from datasets.base import Progress, SegmentationDataset, SplitName
    from datasets.content import Content

_SETTLED_NS = 2_000_000_000  # a file that changed so shortly ago may change again within one tick of its clock
_PATIENCE = 1.0  # seconds after which a terminal is told what takes so long


def splits_read(dataset: SegmentationDataset) -> tuple[SplitName, ...]:
    """Return the splits that a run reads: that of training, and the one that it is evaluated on."""
    return ("train", dataset.config.eval_split)


@lru_cache(maxsize=256)
def content_of(part: Part, roots: DataRoots) -> Content:
    """Return what a dataset's files contain, of the splits that a run reads.

    Raises:
        BenchError: if the data isn't there or can't be read.
    """
    from datasets.content import read_files

    dataset = open_dataset(part, roots)
    splits, looked = splits_read(dataset), time.time_ns()
    with _Told(part.name) as told:
        content, files = read_files(dataset, splits, told.progress)
    _remember(part.spec(), roots, content.sha256, files, looked)
    return content


def _memory(dataset: RawView, roots: DataRoots) -> Path:
    """Return where it is kept which files a dataset's content was read of, and how they were then."""
    key = canonical([dataset, str(roots.root(name_of(dataset)))])
    return cache_dir() / "contents" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (two times as fast as Path.stat)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _remember(dataset: RawView, roots: DataRoots, sha256: str, files: Sequence[Path], looked: int) -> None:
    """Keep what a content was read of, for :func:`known_hash`, unless a file is so new that it may change unseen."""
    stamps = {str(path): _stamp(str(path)) for path in files}
    if any(stamp is not None and looked - max(stamp[1:]) < _SETTLED_NS for stamp in stamps.values()):
        return
    path = _memory(dataset, roots)
    with contextlib.suppress(OSError):  # a cache that can't be written costs time only
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"sha256": sha256, "files": stamps}, indent=None)


def known_hash(dataset: RawView, roots: DataRoots) -> str | None:
    """Return the hash of a dataset's content where none of its files has changed since it was last read, else None.

    Only the files' sizes and times are looked at, and nothing of the dataset's code is imported.

    Args:
        dataset: its name and options, as in a cell's spec.
        roots: where datasets lie.
    """
    try:
        known = read_json(_memory(dataset, roots))
        same = all(_stamp(path) == stamp for path, stamp in known["files"].items())
        return str(known["sha256"]) if same else None
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        return None


class _Told:
    """Tells a terminal how far the reading of a dataset is, on one line of standard error, where it takes a while."""

    def __init__(self, name: str) -> None:
        self._name, self._begin, self._shown = name, time.monotonic(), False

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\n")

    @property
    def progress(self) -> Progress | None:
        """What is called with (done, total) files."""
        return self._show if sys.stderr.isatty() else None

    def _show(self, done: int, total: int) -> None:
        if time.monotonic() - self._begin > _PATIENCE:
            self._shown = True
            sys.stderr.write(f"\rdata of {self._name}: {done:,} of {total:,} files read for their hash")


def check_unchanged(store: Path, planned: str, part: Part, roots: DataRoots) -> Content:
    """Return what a dataset contains, which must be what it contained when its cell was planned.

    Raises:
        BenchError: if it isn't, with what differs.
    """
    content_of.cache_clear()
    now = content_of(part, roots)
    if (changed := changes(store, planned, now)) is not None:
        raise BenchError(f"the data of '{part.name}' in {roots.of(part)} changed since the run was planned: {changed}")
    return now
