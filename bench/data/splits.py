"""Label splits: drawn once, kept in the store as manifests under their hash, read by workers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.roots import DataRoots, open_dataset
from bench.errors import BenchError
from bench.files import read_json, write_json
from bench.spec.cell import Part

if TYPE_CHECKING:
    from datasets.split import Manifest, Split


@lru_cache(maxsize=4096)
def draw_split(dataset: Part, protocol: Part, seed: int, roots: DataRoots, holdout: int = 0) -> Manifest:
    """Draw a split, hold `holdout` of its labelled images out, and return its manifest (see ``datasets/split.py``).

    Raises:
        BenchError: if the data isn't there, or the protocol or the holdout can't be met on it.
    """
    from datasets.split import hold_out, make_manifest

    where = f"dataset '{dataset.name}', protocol '{protocol.name}', split seed {seed}"
    data = open_dataset(dataset, roots)
    drawer = protocol.cls(protocol.config)
    split = drawer.split(data, seed)
    if holdout:
        split = hold_out(split, holdout, seed)
        if not any(data.classes_in(split.holdout).values()):
            what = f"evaluation.holdout {holdout}: the images that are held out"
            raise BenchError(f"{where}: {what} have no pixel with a label, all are void (255); nothing can be scored")
    manifest = make_manifest(split, data, dataset.name, drawer, protocol.identity(), seed)
    if not any(manifest.labelled_images_per_class.values()):
        raise BenchError(
            f"{where}: the labelled images have no pixel with a label, all are void (255); nothing can be learnt"
        )
    return manifest


def split_path(store: Path, sha256: str) -> Path:
    """Return where the store keeps a manifest."""
    return store / ".splits" / f"{sha256}.json"


def keep_split(store: Path, manifest: Manifest) -> None:
    """Write a manifest into the store, unless it is there."""
    path = split_path(store, manifest.sha256)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, manifest.as_json())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: if there is no such file, or it isn't a manifest.
    """
    from datasets.split import Manifest

    return Manifest.model_validate(read_json(path))


def load_split(store: Path, sha256: str) -> Split:
    """Return a kept split, after checking it against the hash.

    Raises:
        BenchError: if the manifest is missing or isn't what its name says.
    """
    path = split_path(store, sha256)
    try:
        split = read_manifest(path).split
    except ValueError:
        raise BenchError(f"{path}: the split's manifest is missing or damaged; plan the grid again") from None
    if split.sha256 != sha256:
        raise BenchError(f"{path}: the ids don't match the hash; the file was changed, delete it and plan again")
    return split
