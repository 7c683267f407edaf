"""CamVid in SegNet's 11-class version."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from bench.errors import BenchError
from bench.registry import register
from datasets.layout.files import read_classes
from datasets.layout.voc_layout import VocLayout

# Class and colour, in index order. Source: SegNet (Badrinarayanan et al., 2017) and its released label colours.
COLOURS = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}


@register("dataset", "camvid")
class CamVid(VocLayout):
    """CamVid (Brostow et al., 2009), 11 classes, 367/101/233 images of 480x360 (the split of SegNet), in VOC layout."""

    names_identify: ClassVar[bool] = True

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The 11 classes.

        Raises:
            BenchError: if the dataset's own ``classes.txt`` says otherwise, since its masks would then mean another thing.
        """
        path = self.root / self.layout.classes
        if read_classes(path) != tuple(COLOURS):
            raise BenchError(
                f"{path}: not the 11 classes of CamVid in their order ({', '.join(COLOURS)}); use `folder`"
            )
        return tuple(COLOURS)

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """The colours of SegNet."""
        return list(COLOURS.values())

    @property
    def few_labels_min_classes(self) -> int:
        """8, which 356 of the 367 training images have; ReCo doesn't use CamVid, so this is this project's choice."""
        return 8
