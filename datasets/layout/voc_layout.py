"""Datasets in Pascal VOC layout: folders of images and index masks, a list of ids per split, and class names.

::

    JPEGImages/ID.jpg           (.jpeg and .png are found too)
    SegmentationClass/ID.png    8-bit, pixel = class index, 255 = void
    ImageSets/Segmentation/{train,val,test}.txt   one id a line
    classes.txt                 one name a line, in index order
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from bench.arrays import UInt8
from bench.errors import BenchError
from datasets.base import CheckReport, DatasetConfig, Progress, SegmentationDataset, SplitName
from datasets.content import read_content
from datasets.layout.cache import Presence, cached_presence, presence_key
from datasets.layout.check import check_layout
from datasets.layout.files import (
    MASK_SUFFIX,
    decode_rgb,
    escapes,
    find_image,
    illegal_labels,
    load_index_mask,
    on_threads,
    read_classes,
    read_lines,
)
from datasets.layout.palette import voc_palette


@dataclass(frozen=True)
class Layout:
    """Where things lie, relative to the dataset's root."""

    images: str = "JPEGImages"
    masks: str = "SegmentationClass"
    lists: str = "ImageSets/Segmentation"
    classes: str = "classes.txt"


class VocLayout(SegmentationDataset):
    """Base class of datasets in VOC layout; subclasses with other folders pass their `layout`."""

    def __init__(self, config: DatasetConfig, root: Path, layout: Layout | None = None) -> None:
        super().__init__(config, root)
        self.layout = layout or Layout()
        self._ids: dict[SplitName, tuple[str, ...]] = {}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order, from the file of class names."""
        return read_classes(self.root / self.layout.classes)

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """The colours of Pascal VOC."""
        return voc_palette(len(self.classes))

    def list_path(self, split: SplitName) -> Path:
        """Return the list of a split."""
        return self.root / self.layout.lists / f"{split}.txt"

    def image_path(self, image_id: str) -> Path:
        """Return an image's file (the .jpg where there is none)."""
        return find_image(self.root / self.layout.images, image_id)

    def mask_path(self, image_id: str) -> Path:
        """Return a mask's file."""
        return self.root / self.layout.masks / f"{image_id}{MASK_SUFFIX}"

    def ids(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids of a split in the order of its list.

        Raises:
            BenchError: if the list is missing or empty, names an id twice, or names one outside the dataset's folder.
        """
        if split not in self._ids:
            path = self.list_path(split)
            found = [line for line in read_lines(path) if line]
            for image_id in found:
                if escapes(image_id):
                    raise BenchError(
                        f"{path}: '{image_id}' is not an id; ids are relative paths without '..' or suffix"
                    )
            if not found or len(set(found)) < len(found):
                fault = "names an id twice" if found else "names no ids"
                raise BenchError(f"{path}: {fault}; `data check` lists every problem")
            self._ids[split] = tuple(found)
        return self._ids[split]

    def files(self, split: SplitName) -> dict[str, tuple[Path, ...]]:
        """Return image and mask of each id of a split."""
        return {image_id: (self.image_path(image_id), self.mask_path(image_id)) for image_id in self.ids(split)}

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the lists of some splits, and the file of class names."""
        return (*map(self.list_path, splits), self.root / self.layout.classes)

    def image(self, image_id: str) -> UInt8:
        """Return the decoded RGB image, resized to the prepared size (bilinear, antialiased), (H, W, 3) uint8."""
        pixels = decode_rgb(self.image_path(image_id))
        if self.config.size is None:
            return pixels
        return np.array(self._prepared(Image.fromarray(pixels), Image.Resampling.BILINEAR), dtype=np.uint8)

    def mask(self, image_id: str) -> UInt8:
        """Return the mask, resized to the prepared size (nearest), (H, W) uint8: class index, 255 = void.

        Raises:
            BenchError: if the file can't be used or holds an illegal label value.
        """
        return np.array(self._legal_mask(image_id), dtype=np.uint8)

    @cached_property
    def presence(self) -> Presence:
        """Classes present in each training image's prepared mask, without void; kept in the cache on disk."""
        ids = self.ids("train")
        content = read_content(self, ["train"]).splits["train"]
        key = presence_key([content[i] for i in ids], self.config.size, len(self.classes))

        def compute() -> Presence:
            return dict(zip(ids, on_threads(self._present, ids), strict=True))

        return cached_presence(key, ids, compute)

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Walk the whole dataset, in its own sizes, and report every problem."""
        return check_layout(self, progress)

    def _prepared(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        if self.config.size is None:
            return image
        height, width = self.config.size
        return image.resize((width, height), resample)

    def _legal_mask(self, image_id: str) -> Image.Image:
        path = self.mask_path(image_id)
        mask = self._prepared(load_index_mask(path), Image.Resampling.NEAREST)
        illegal = illegal_labels(mask.histogram(), len(self.classes))
        if illegal:
            raise BenchError(
                f"{path}: label values {', '.join(map(str, illegal))} are neither a class (0 to {len(self.classes) - 1}) "
                "nor void (255); `data check` lists every such mask"
            )
        return mask

    def _present(self, image_id: str) -> frozenset[int]:
        histogram = self._legal_mask(image_id).histogram()
        return frozenset(index for index in range(len(self.classes)) if histogram[index])
