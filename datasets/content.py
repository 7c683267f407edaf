"""What a dataset's files contain: a hash per image and mask, so that a run says which data it was made of."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import cache_dir, file_digest, read_json, write_json
from datasets.layout.checksums import CHECKSUMS
from datasets.layout.files import on_threads

if TYPE_CHECKING:
    from datasets.base import Progress, SegmentationDataset, SplitName

DIGITS = 32  # hexadecimal digits of SHA-256 that are kept per file
MISSING = "missing"
# A file changed so shortly before it was hashed may change again within the same tick of the file system's clock.
_SETTLED_NS = 2_000_000_000
Stamp = list[int]  # size in bytes, times of change of content and of inode in ns
Entries = dict[str, str]  # image id -> the hashes of its files, joined by dots


@dataclass(frozen=True)
class Content:
    """What was read of a dataset.

    Attributes:
        dataset: name of the class.
        classes: their names in index order.
        splits: per split, in the order of its list, the hashes of each image's files.
        facts: what else decides a label split, as JSON types.
        pinned: every file is as this harness's code made it from the dataset's options or its official archives.
    """

    dataset: str
    classes: tuple[str, ...]
    splits: Mapping[str, Entries]
    facts: Mapping[str, Any]
    pinned: bool

    def as_json(self) -> dict[str, Any]:
        """Return the content as JSON types."""
        splits = {name: list(map(list, entries.items())) for name, entries in self.splits.items()}
        return {"dataset": self.dataset, "classes": list(self.classes), "splits": splits, "facts": dict(self.facts)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Content:
        """Rebuild a content from :meth:`as_json`; whether it was pinned isn't kept.

        Raises:
            KeyError, TypeError, ValueError: if it is anything else.
        """
        splits = {str(name): {str(i): str(h) for i, h in entries} for name, entries in raw["splits"].items()}
        return cls(str(raw["dataset"]), tuple(map(str, raw["classes"])), splits, dict(raw["facts"]), False)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content: of class names, ids in the order of their lists, and the hashes of all files."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """What of it belongs to a cell's id: the hash, or nothing where the code pins the content."""
        return "" if self.pinned else self.sha256


class _Hashes:
    """The hashes of a folder's files, kept in the cache on disk by size and times of change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = cache_dir() / "files" / f"{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:24]}.json"
        try:
            self._known: dict[str, tuple[Stamp, str]] = dict(read_json(self._path) or {})
        except (ValueError, TypeError, OSError):
            self._known = {}
        self._changed = False

    def of(self, paths: Sequence[Path], progress: Progress | None) -> dict[Path, str]:
        """Return the first digits of each file's SHA-256, or `missing` where there is none; paths lie in the folder."""
        stamps = {path: _stamp(path) for path in paths}
        names = {path: name_in(self._root, path) for path in paths}
        found = {path: self._hash(names[path], stamp) for path, stamp in stamps.items()}
        todo = [path for path, known in found.items() if known is None]
        for path, digest in zip(todo, on_threads(_digest, todo, progress), strict=True):
            found[path] = digest
            stamp = stamps[path]
            if stamp is not None and digest != MISSING and time.time_ns() - max(stamp[1:]) > _SETTLED_NS:
                self._known[names[path]] = (stamp, digest)
                self._changed = True
        return {path: digest or MISSING for path, digest in found.items()}

    def _hash(self, name: str, stamp: Stamp | None) -> str | None:
        """Return a file's hash where it is known; None where it must be read."""
        if stamp is None:
            return MISSING
        known = self._known.get(name)
        return str(known[1]) if known is not None and list(known[0]) == stamp else None

    def keep(self) -> None:
        """Write what was hashed to the cache; one that can't be written costs time only."""
        if self._changed:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self._path, self._known, indent=None)
            except OSError:
                return


def name_in(root: Path, path: Path) -> str:
    """Return a file's path in a folder; its whole path where it lies elsewhere."""
    return str(path).removeprefix(f"{root}{os.sep}")  # os.path.relpath takes most of the time of an unchanged dataset


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (the whole time of an unchanged dataset; Path.stat takes twice as long)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _digest(path: Path) -> str:
    try:
        return file_digest(path)[:DIGITS]
    except FileNotFoundError:
        return MISSING


def read_content(
    dataset: SegmentationDataset, splits: Iterable[SplitName], progress: Progress | None = None
) -> Content:
    """Return what the files of some splits contain, see :func:`read_files`."""
    return read_files(dataset, splits, progress)[0]


def read_files(
    dataset: SegmentationDataset, splits: Iterable[SplitName], progress: Progress | None = None
) -> tuple[Content, list[Path]]:
    """Return what the files of some splits contain, and the files that this rests on.

    Files that are as they were when they were last hashed are not read.

    Args:
        dataset: opened.
        splits: which of its splits.
        progress: called with (done, total) files, of those that are read.

    Raises:
        BenchError: if a list can't be used, or a file can't be read.
    """
    files: dict[str, dict[str, tuple[Path, ...]]] = {split: dataset.files(split) for split in dict.fromkeys(splits)}
    images = dict.fromkeys(path for found in files.values() for some in found.values() for path in some)
    paths = [*images, *dataset.lists(tuple(dict.fromkeys(splits)))]
    hashes = _Hashes(dataset.root)
    digests = hashes.of(paths, progress)
    hashes.keep()
    entries = {
        split: {image_id: ".".join(digests[path] for path in some) for image_id, some in found.items()}
        for split, found in files.items()
    }
    quality = dataset.high_quality
    facts = {} if quality is None else {"high_quality": sorted(quality)}
    pinned = _is_pinned(dataset, digests)
    content = Content(type(dataset).__name__, tuple(dataset.classes), entries, facts, pinned)
    return content, [*paths, dataset.root / CHECKSUMS]


def _is_pinned(dataset: SegmentationDataset, digests: Mapping[Path, str]) -> bool:
    """Tell whether every file is as this harness made it."""
    if not digests:  # it draws what it shows
        return not dataset.needs_root
    made = dataset.made
    return all(made.get(name_in(dataset.root, path), "")[:DIGITS] == digest for path, digest in digests.items())


# -- what differs ----------------------------------------------------------------------------------------------------------


def differences(then: Content, now: Content) -> str:
    """Return in words what differs between two contents: `val: 90 of 100 images gone; train: 3 masks changed`."""
    said = []
    if then.classes != now.classes:
        said.append("other class names" if len(then.classes) == len(now.classes) else "another number of classes")
    for split in dict.fromkeys([*then.splits, *now.splits]):
        if split not in then.splits or split not in now.splits:
            said.append(f"{split} is read {'now' if split in now.splits else 'no more'}")
            continue
        words = _split_differences(then.splits[split], now.splits[split])
        said += [f"{split}: {', '.join(words)}"] if words else []
    if not said and then.facts != now.facts:
        said.append("other facts: " + ", ".join(k for k in now.facts if now.facts[k] != then.facts.get(k)))
    return "; ".join(said)


def _split_differences(then: Entries, now: Entries) -> list[str]:
    gone, new = [i for i in then if i not in now], [i for i in now if i not in then]
    words = [f"{len(gone)} of {len(then)} images gone ({_some(gone)})"] if gone else []
    words += [f"{len(new)} new images ({_some(new)})"] if new else []
    for place, what in enumerate(("image", "mask")):
        changed = [i for i in now if i in then and _part(then[i], place) != _part(now[i], place)]
        if changed:
            words.append(f"{len(changed)} {what}{'s' if len(changed) > 1 else ''} changed ({_some(changed)})")
    if not words and list(then) != list(now):
        words.append("the list's order changed")
    return words


def _part(hashes: str, place: int) -> str:
    parts = hashes.split(".")
    return parts[place] if place < len(parts) else ""


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:2]) + (", …" if len(ids) > 2 else "")
