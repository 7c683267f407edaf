"""VOC-Animals: the images of Pascal VOC 2012 with a cat, cow, dog, horse or sheep, in seven classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from bench.arrays import IGNORE_INDEX
from bench.registry import register
from datasets.base import SplitName
from datasets.layout.files import read_lines
from datasets.layout.palette import voc_palette
from datasets.layout.voc_layout import Layout
from datasets.official.archives import Sources
from datasets.official.encode import map_labels
from datasets.official.official import OfficialConfig
from datasets.official.prepare import RECORD, Preparation
from datasets.voc import CLASSES as VOC_CLASSES
from datasets.voc import HIGH_QUALITY_LIST, Voc

LISTS = Path(__file__).parent / "subsets" / "voc_animals"
CLASSES = ("background", "cat", "cow", "dog", "horse", "sheep", "person")
_AS_SHARED = Layout(masks="SegmentationClassAug")
_TRAIN_AS_SHARED = "train_aug.txt"


@register("dataset", "voc_animals")
class VocAnimals(Voc):
    """3,131 training and 445 validation images of Pascal VOC 2012; background, five animals, person, all else void.

    The ids are those of VOC's part of the Animal-Pose collection (Cao et al., ICCV 2019), in the field's lists of 10,582 and
    1,449 images: they ship with the code, in ``datasets/subsets/voc_animals``, with the classic labelled lists as far as
    they are among them. Since every image was chosen for an animal, results are VOC-Animals', never VOC's.

    A folder is one that `data prepare` made of Pascal VOC and SBD; or VOC's own layout with ``SegmentationClassAug`` and its
    label values, whose training list is ``train_aug.txt``; or these seven classes with ``classes.txt``, as they are.
    """

    Config = OfficialConfig
    published: ClassVar[dict[SplitName, int]] = {"train": 3_131, "val": 445}
    published_unlabelled: ClassVar[dict[str, int]] = {}
    label_map: ClassVar[dict[int, int]] = {
        **dict.fromkeys(range(len(VOC_CLASSES)), IGNORE_INDEX),
        **{VOC_CLASSES.index(name): index for index, name in enumerate(CLASSES)},
        IGNORE_INDEX: IGNORE_INDEX,
    }

    def __init__(self, config: OfficialConfig, root: Path) -> None:
        super().__init__(config, root)
        if self.given and (root / _AS_SHARED.masks).is_dir():
            self.layout = _AS_SHARED
            self.reading = "VOC's label values"

    @cached_property
    def given(self) -> bool:
        """Whether the folder is in VOC's layout, though `data prepare` didn't make it."""
        return not (self.root / RECORD).exists() and (self.root / Layout.images).is_dir()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Background, five animals, person."""
        return CLASSES

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """The colours that these classes have in Pascal VOC."""
        colours = voc_palette(len(VOC_CLASSES))
        return [colours[VOC_CLASSES.index(name)] for name in CLASSES]

    @property
    def few_labels_min_classes(self) -> int:
        """2, background included: most images show one animal."""
        return 2

    @cached_property
    def high_quality(self) -> frozenset[str]:
        """Those of VOC's own 1,464 training images."""
        return frozenset(read_lines(LISTS / HIGH_QUALITY_LIST)) - {""}

    def list_path(self, split: SplitName) -> Path:
        """Return the list of a split."""
        if split == "train" and self.reading:
            return self.root / self.layout.lists / _TRAIN_AS_SHARED
        return super().list_path(split)

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the lists of some splits; what else says what ids and classes are is in the code."""
        return tuple(map(self.list_path, splits))

    def stored_mask(self, path: Path) -> Image.Image:
        """Return a mask's labels at the size in which it is stored.

        Raises:
            BenchError: if it can't be used.
        """
        mask = super().stored_mask(path)
        if not self.reading:
            return mask
        return Image.fromarray(map_labels(path, np.asarray(mask), self.label_map, type(self).__name__))

    def preparation(self, sources: Sources) -> Preparation:
        """Take these ids of VOC's images and masks."""
        whole = super().preparation(sources)
        splits = {}
        for split in self.published:
            ids = dict.fromkeys(filter(None, read_lines(LISTS / f"{split}.txt")))
            known = {pair.image_id: pair for pair in whole.splits[split]}
            splits[split] = [known[image_id] for image_id in ids if image_id in known]
        return replace(whole, splits=splits, unlabelled={})
