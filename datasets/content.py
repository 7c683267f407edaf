"""What a dataset's files contain: a hash per image and mask, so that a run says which data it was made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.layout.checksums import CHECKSUMS
from datasets.layout.stamps import DIGITS, hashes_of, name_in

if TYPE_CHECKING:
    from datasets.base import Progress, SegmentationDataset, SplitName

MISSING = "missing"
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
    digests = {path: digest or MISSING for path, digest in hashes_of(dataset.root, paths, progress).items()}
    entries = {
        split: {image_id: ".".join(digests[path] for path in some) for image_id, some in found.items()}
        for split, found in files.items()
    }
    pinned = _is_pinned(dataset, digests)
    content = Content(type(dataset).__name__, tuple(dataset.classes), entries, dataset.facts, pinned)
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
