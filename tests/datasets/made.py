"""Made-up datasets in VOC layout, and a dataset that is nothing but ids and presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.arrays import UInt8
from bench.seeds import rng
from datasets.base import DatasetConfig, SegmentationDataset, SplitName
from datasets.layout.voc_layout import Layout, VocLayout

CLASSES = ("ground", "house", "tree")
LISTS: dict[str, tuple[str, ...]] = {"train": ("b", "a", "c"), "val": ("d", "e"), "test": ("f",)}


def picture(image_id: str, height: int = 12, width: int = 16) -> UInt8:
    """Return noise, (H, W, 3)."""
    return rng(0, "picture", image_id).integers(0, 256, (height, width, 3)).astype(np.uint8)


def labels(image_id: str, height: int = 12, width: int = 16) -> UInt8:
    """Return a mask of blocks of classes 0 to 2, (H, W), with a void corner."""
    blocks = rng(0, "labels", image_id).integers(0, 3, (height // 4, width // 4))
    mask = np.kron(blocks, np.ones((4, 4))).astype(np.uint8)
    mask[0, 0] = 255
    return mask


def make_voc(
    root: Path,
    lists: Mapping[str, Sequence[str]] = LISTS,
    classes: Sequence[str] = CLASSES,
    layout: Layout | None = None,
    suffix: str = ".png",
) -> Path:
    """Write a dataset; PNG images keep their pixels."""
    layout = layout or Layout()
    for folder in (layout.images, layout.masks, layout.lists):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / layout.classes).write_text("".join(f"{name}\n" for name in classes))
    for split, ids in lists.items():
        (root / layout.lists / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))
        for image_id in ids:
            Image.fromarray(picture(image_id)).save(root / layout.images / f"{image_id}{suffix}")
            Image.fromarray(labels(image_id)).save(root / layout.masks / f"{image_id}.png")
    return root


def open_voc(root: Path, size: tuple[int, int] | None = None) -> VocLayout:
    return VocLayout(DatasetConfig(size=size), root)


class Listed(SegmentationDataset):
    """Training ids, and the classes of each."""

    names_identify = True

    def __init__(self, presence: Mapping[str, Sequence[int]] | Sequence[str], num_classes: int = 3) -> None:
        super().__init__(DatasetConfig(), Path("/nowhere"))
        self._listed = dict(presence) if isinstance(presence, Mapping) else dict.fromkeys(presence, (0,))
        self._num_classes = num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"c{i}" for i in range(self._num_classes))

    def ids(self, split: SplitName) -> tuple[str, ...]:
        return tuple(self._listed) if split == "train" else ()

    def classes_in(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        return {image_id: frozenset(self._listed[image_id]) for image_id in ids}


def presence(dataset: SegmentationDataset) -> dict[str, frozenset[int]]:
    """Return the classes in each training image that has a mask."""
    return dataset.classes_in(dataset.annotated)
