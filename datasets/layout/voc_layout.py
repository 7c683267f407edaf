"""Datasets in Pascal VOC layout: folders of images and index masks, a list of ids per split, and class names.

::

    JPEGImages/ID.jpg           (.png, .tif … are found too, in any case)
    SegmentationClass/ID.png    at most 8 bits, pixel = class index, 255 = void
    ImageSets/Segmentation/{train,val,test}.txt   one id a line
    classes.txt                 one name a line, in index order
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import JsonValue

from bench.arrays import IGNORE_INDEX, UInt8
from bench.errors import BenchError
from datasets.base import CheckReport, DatasetConfig, Health, Progress, SegmentationDataset, SplitName
from datasets.layout.check import check_layout
from datasets.layout.decode import (
    IMAGE_SUFFIXES,
    MASK_SUFFIX,
    MASK_SUFFIXES,
    MAX_PIXELS,
    decode_rgb,
    load_index_mask,
    unlisted,
)
from datasets.layout.files import escapes, illegal_labels, read_classes, read_lines
from datasets.layout.health import health_of
from datasets.layout.palette import voc_palette
from datasets.layout.places import Places
from datasets.layout.stamps import Known


@dataclass(frozen=True)
class Layout:
    """Where things lie, relative to the dataset's root.

    Attributes:
        images, masks: folders, or paths in which ``{id}`` stands for the id (see :class:`Places`).
        lists: folder of the lists.
        classes: file of class names.
    """

    images: str = "JPEGImages"
    masks: str = "SegmentationClass"
    lists: str = "ImageSets/Segmentation"
    classes: str = "classes.txt"


class VocLayout(SegmentationDataset):
    """Base class of datasets in VOC layout; subclasses with other folders pass their `layout`.

    Attributes:
        reading: what decides how a stored mask's values become labels, as text; "" where they are the labels.
        max_pixels: the most pixels that an image or a mask may have.
    """

    reading: str = ""
    max_pixels: int = MAX_PIXELS

    def __init__(self, config: DatasetConfig, root: Path, layout: Layout | None = None) -> None:
        super().__init__(config, root)
        self.layout = layout or Layout()
        self._ids: dict[SplitName, tuple[str, ...]] = {}
        self._present: dict[str, frozenset[int]] = {}

    @cached_property
    def images(self) -> Places:
        """Where images lie."""
        return Places(self.root, self.layout.images, IMAGE_SUFFIXES, "image")

    @cached_property
    def masks(self) -> Places:
        """Where masks lie."""
        return Places(self.root, self.layout.masks, (MASK_SUFFIX,), "mask", MASK_SUFFIXES)

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
        """Return an image's file, or where it would be.

        Raises:
            BenchError: if several files could be it.
        """
        return self.find_image(image_id) or self.images.nominal(image_id)

    def find_image(self, image_id: str) -> Path | None:
        """Return an image's file, None where there is none.

        Raises:
            BenchError: if several files could be it.
        """
        return self.images.find(image_id, but=self.mask_path(image_id))

    def mask_path(self, image_id: str) -> Path:
        """Return a mask's file, or where it would be.

        Raises:
            BenchError: if several files could be it.
        """
        return self.masks.find(image_id) or self.masks.nominal(image_id)

    def listed(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids that a split's list names, in its order.

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

    def ids(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids of a split in the order of its list, for training those of more photographs behind them.

        Raises:
            BenchError: see :meth:`listed`.
        """
        return self.listed(split) + (self.photographs if split == "train" else ())

    @property
    def photographs(self) -> tuple[str, ...]:
        """Ids of training images beside the list, which have no masks; none by default."""
        return ()

    @property
    def annotated(self) -> tuple[str, ...]:
        """The training ids that have a mask: here all of the list."""
        return self.listed("train")

    def files(self, split: SplitName) -> dict[str, tuple[Path, ...]]:
        """Return image and mask of each id of a split; a photograph without mask has an image alone.

        Raises:
            BenchError: if a list can't be used, or several files could be an id's image or mask.
        """
        self.images.look_again()
        self.masks.look_again()
        bare = set(self.ids(split)) - set(self.annotated) if split == "train" else set()
        return {
            i: (self.image_path(i),) if i in bare else (self.image_path(i), self.mask_path(i)) for i in self.ids(split)
        }

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the lists of some splits, and the file of class names."""
        return (*map(self.list_path, splits), self.root / self.layout.classes)

    def has_mask(self, image_id: str) -> bool:
        """Return whether there is a mask for an image, or one must be there, so that its absence is a fault."""
        return True

    def image(self, image_id: str) -> UInt8:
        """Return the decoded RGB image, resized to the prepared size (bilinear, antialiased), (H, W, 3) uint8.

        Raises:
            BenchError: if there is none, or it can't be used.
        """
        path = self.find_image(image_id)
        if path is None:
            raise BenchError(self.images.missing(image_id))
        return self.config.prepared(decode_rgb(path, self.max_pixels))

    def mask(self, image_id: str) -> UInt8:
        """Return the mask, resized to the prepared size (nearest), (H, W) uint8: class index, 255 = void.

        Raises:
            BenchError: if there is none, it can't be used, or it holds an illegal label value.
        """
        path = self.masks.find(image_id)
        if path is None:
            raise BenchError(self.masks.missing(image_id))
        mask = self._prepared(self.stored_mask(path), Image.Resampling.NEAREST)
        self._refuse_illegal(path, illegal_labels(mask.histogram(), len(self.classes)))
        return np.array(mask, dtype=np.uint8)

    def stored_mask(self, path: Path) -> Image.Image:
        """Return a mask's labels at the size in which it is stored, mode L or P.

        Raises:
            BenchError: if it can't be used.
        """
        return load_index_mask(path, max_pixels=self.max_pixels)

    def labels_in(self, ids: Sequence[str]) -> dict[str, Mapping[int, int]]:
        """Return the pixels of each label in some images' prepared masks, as {id: {label: pixels}}; kept in the cache.

        Raises:
            BenchError: if a mask is missing or can't be used; illegal labels are returned like others.
        """
        paths = {image_id: self.mask_path(image_id) for image_id in ids}
        kind = f"labels, size {self.config.long_side or self.config.size}, {self.reading}"
        found = Known(self.root, kind, self._histogram, _as_labels).of(paths.values())
        histograms = dict[str, Mapping[int, int]]()
        for image_id, path in paths.items():
            labels = found[path]
            if labels is None:
                raise BenchError(self.masks.missing(image_id))
            histograms[image_id] = labels
        return histograms

    def _histogram(self, path: Path) -> JsonValue:
        mask = self._prepared(self.stored_mask(path), Image.Resampling.NEAREST)
        return {str(label): count for label, count in enumerate(mask.histogram()) if count}

    def classes_in(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        """Return the classes present in some images' prepared masks, without void, as {id: class indices}.

        Raises:
            BenchError: if a mask is missing, can't be used, or holds an illegal label value.
        """
        todo, num_classes = [image_id for image_id in ids if image_id not in self._present], len(self.classes)
        for image_id, labels in self.labels_in(todo).items() if todo else ():
            illegal = [label for label in labels if num_classes <= label != IGNORE_INDEX]
            self._refuse_illegal(self.mask_path(image_id), illegal)
            self._present[image_id] = frozenset(labels) - {IGNORE_INDEX}
        return {image_id: self._present[image_id] for image_id in ids}

    def health(self) -> Health:
        """Compare images with their masks by their headers, and look at the labels of evaluated masks."""
        return health_of(self)

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Walk the whole dataset, in its own sizes, and report every problem."""
        return check_layout(self, progress)

    def _prepared(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        height, width = self.config.prepared_size(image.height, image.width)
        return image if (width, height) == image.size else image.resize((width, height), resample)

    def _refuse_illegal(self, path: Path, illegal: Sequence[int]) -> None:
        if illegal:
            raise BenchError(
                f"{path}: label values {unlisted(illegal)} are neither a class (0 to {len(self.classes) - 1}) nor void "
                "(255); `data check` lists every such mask"
            )


def _as_labels(raw: JsonValue) -> Counter[int]:
    if not isinstance(raw, dict):
        raise TypeError("not a histogram")
    return Counter({int(label): int(str(count)) for label, count in raw.items()})
