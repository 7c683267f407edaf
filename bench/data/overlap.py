"""How two label splits overlap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.data.splits import split_path
from bench.errors import BenchError
from bench.files import read_json


def find_split(store: Path, name: str) -> dict[str, Any]:
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
        found = read_json(paths[0])
        whole = {"dataset", "protocol", "title", "seed", "labelled", "labelled_high_quality"} <= set(found)
    except (ValueError, TypeError):
        whole = False
    if not whole:
        raise BenchError(f"{paths[0]}: not the manifest of a split")
    manifest: dict[str, Any] = found
    return manifest


def compare_splits(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return how two splits overlap: images labelled in both and in one alone, their Jaccard index, high-quality counts.

    Raises:
        BenchError: if they are of different datasets.
    """
    if first["dataset"] != second["dataset"]:
        raise BenchError(f"the splits are of different datasets: {first['dataset']} and {second['dataset']}")
    a, b = set(first["labelled"]), set(second["labelled"])
    partial = first.get("given") or second.get("given")
    return {
        "both": len(a & b),
        "only_a": len(a - b),
        "only_b": len(b - a),
        "jaccard": len(a & b) / len(a | b) if a | b else 1.0,
        "high_quality": [first["labelled_high_quality"], second["labelled_high_quality"]],
        "same_given": first.get("given") == second.get("given") if partial else None,
        "ids_in_both": sorted(a & b),
    }
