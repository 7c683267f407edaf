"""Label lists that repositories share, recognised by their hash: which family a split's labelled images belong to."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from bench.patience import read_bytes
from bench.report.papers.published import FOLDER

FILE = FOLDER / "split-families.tsv"
_IMAGE_TAG = "_leftImg8bit"  # Cityscapes' image files carry it behind the id
_DIGITS = 12


@dataclass(frozen=True)
class Family:
    """A list of labelled images that one or several repositories use.

    Attributes:
        dataset, images: of which dataset, and how many.
        name: of the family; lists of one size and another family hold other images.
        sha256: the first 12 hex digits of the SHA-256 of the sorted names, joined by newlines.
        repositories: which have it.
    """

    dataset: str
    images: int
    name: str
    sha256: str
    repositories: tuple[str, ...]


OWN = Family("", 0, "own draw", "", ())  # a list that no repository in the table has


def digest(ids: Iterable[str]) -> str:
    """Return what a list is recognised by; folders and Cityscapes' suffix of image files don't count."""
    names = sorted(PurePosixPath(image_id).name.removesuffix(_IMAGE_TAG) for image_id in ids)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:_DIGITS]


@cache
def known() -> dict[str, Family]:
    """Return the lists of :data:`FILE` by their digest."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t"))
    return {
        row["sha256"]: Family(
            row["dataset"], int(row["images"]), row["family"], row["sha256"], tuple(row["repositories"].split(", "))
        )
        for row in rows
    }


def of_split(store: Path, sha256: str) -> Family | None:
    """Return the family of a split's labelled images, :data:`OWN` where no repository has the list.

    Args:
        store: the run store, which keeps each split's manifest under the split's hash.
        sha256: of the split.

    Returns:
        None where the manifest isn't there or can't be read: then nothing is known.
    """
    try:
        labelled = json.loads(read_bytes(store / ".splits" / f"{sha256}.json"))["labelled"]
        return known().get(digest(labelled), OWN)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
