"""How two label splits overlap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from bench.data.splits import read_manifest, split_path
from bench.errors import BenchError

if TYPE_CHECKING:
    from datasets.split import Manifest


class Overlap(TypedDict):
    """How two splits A and B overlap, under the keys of ``split --compare --json``.

    Attributes:
        both: images labelled in both.
        only_a: images labelled in A alone.
        only_b: images labelled in B alone.
        jaccard: `both` as a share of all images that either labels; 1 where neither labels any.
        high_quality: labelled images with high-quality annotation in A and in B.
        same_given: whether the same labels of partly labelled images are visible; None where images are labelled in full.
        ids_in_both: the ids of `both`, sorted.
    """

    both: int
    only_a: int
    only_b: int
    jaccard: float
    high_quality: list[int | None]
    same_given: bool | None
    ids_in_both: list[str]


def find_split(store: Path, name: str) -> Manifest:
    """Return a manifest given as a file, or as the beginning of the hash of a split that the store keeps.

    Raises:
        BenchError: if there is none, more than one, or it is damaged.
    """
    if Path(name).is_file():
        paths = [Path(name)]
    else:
        paths = sorted(split_path(store, "x").parent.glob(f"{name}*.json")) if name.isalnum() else []
    if len(paths) != 1:
        what = "no such manifest" if not paths else f"{len(paths)} kept splits begin so"
        raise BenchError(f"{name}: {what}; give a file that `split --output` wrote, or the hash of a split in {store}")
    try:
        return read_manifest(paths[0])
    except ValueError:
        raise BenchError(f"{paths[0]}: not the manifest of a split") from None


def compare_splits(first: Manifest, second: Manifest) -> Overlap:
    """Return how two splits overlap: images labelled in both and in one alone, their Jaccard index, high-quality counts.

    Raises:
        BenchError: if they are of different datasets.
    """
    if first.dataset != second.dataset:
        raise BenchError(f"the splits are of different datasets: {first.dataset} and {second.dataset}")
    a, b = set(first.labelled), set(second.labelled)
    partial = first.visible_labels or second.visible_labels
    return {
        "both": len(a & b),
        "only_a": len(a - b),
        "only_b": len(b - a),
        "jaccard": len(a & b) / len(a | b) if a | b else 1.0,
        "high_quality": [first.labelled_high_quality, second.labelled_high_quality],
        "same_given": first.visible_labels == second.visible_labels if partial else None,
        "ids_in_both": sorted(a & b),
    }
