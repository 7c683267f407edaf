"""Label splits: drawn once, kept in the store as manifests under their hash, read by workers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data import DataRoots, open_dataset
from bench.errors import BenchError
from bench.spec.cell import Part
from bench.store.files import read_json, write_json

if TYPE_CHECKING:
    from datasets._split import Split


@lru_cache(maxsize=4096)
def draw_split(dataset: Part, protocol: Part, seed: int, roots: DataRoots) -> dict[str, Any]:
    """Draw a split and return its manifest (see ``datasets/_split.py``).

    Raises:
        BenchError: if the data isn't there or the protocol can't be met on it.
    """
    from datasets._split import manifest

    data = open_dataset(dataset, roots)
    drawer = protocol.cls(protocol.config)
    split = drawer.split(data, seed)
    return manifest(split, data, dataset.name, drawer, protocol.identity(), seed)


def split_path(store: Path, sha256: str) -> Path:
    """Return where the store keeps a manifest."""
    return store / ".splits" / f"{sha256}.json"


def keep_split(store: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest into the store, unless it is there."""
    path = split_path(store, manifest["sha256"])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, manifest)


def load_split(store: Path, sha256: str) -> Split:
    """Return a kept split, after checking it against the hash.

    Raises:
        BenchError: if the manifest is missing or isn't what its name says.
    """
    from datasets._split import Split

    path = split_path(store, sha256)
    try:
        found = read_json(path)
        split = Split(tuple(found["labelled"]), tuple(found["unlabelled"]), found.get("given", ""))
    except (ValueError, KeyError, TypeError):
        raise BenchError(f"{path}: the split's manifest is missing or damaged; plan the grid again") from None
    if split.sha256 != sha256:
        raise BenchError(f"{path}: the ids don't match the hash; the file was changed, delete it and plan again")
    return split


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
