"""Cityscapes, fine annotation, 19 classes."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.arrays import IGNORE_INDEX
from bench.registry import register
from datasets.base import DatasetConfig, SplitName
from datasets.official.archives import Member, Sources
from datasets.official.official import OfficialConfig, OfficialDataset
from datasets.official.prepare import Pair, Preparation

# Label id, name and colour in the order of the train ids. Source: cityscapesScripts, helpers/labels.py.
LABELS = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
_LABEL_IDS = 34  # 0 to 33; the licence plate's -1 isn't drawn


class CityscapesConfig(OfficialConfig):
    """Options of `cityscapes`.

    Attributes:
        size: (height, width); by default that of ReCo's preparation; null for the full 1024x2048.
        unlabelled: ``train_extra``: the 19,998 images of leftImg8bit_trainextra are prepared too, as unlabelled ones; their
            coarse annotation isn't used.
    """

    size: tuple[int, int] | None = (512, 1024)
    unlabelled: Annotated[Literal["train_extra"] | None, Field(json_schema_extra={"identity": "non-default"})] = None


@register("dataset", "cityscapes")
class Cityscapes(OfficialDataset):
    """Cityscapes with fine annotation, 19 classes: 2,975 training and 500 validation images, prepared at 512x1024.

    An id is the image's file name without ``_leftImg8bit.png``; the city is the beginning of it. ReCo's released code
    resizes images with its Pillow's default filter; here it is bilinear, antialiased.
    """

    Config: ClassVar[type[DatasetConfig]] = CityscapesConfig
    published: ClassVar[dict[SplitName, int]] = {"train": 2_975, "val": 500}
    published_unlabelled: ClassVar[dict[str, int]] = {"train_extra": 19_998}
    archives: ClassVar[tuple[str, ...]] = (
        *("leftImg8bit_trainvaltest", "gtFine_trainvaltest"),
        "leftImg8bit_trainextra",
    )
    wanted: ClassVar[str] = "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or their trees"
    label_map: ClassVar[dict[int, int]] = {
        **dict.fromkeys(range(_LABEL_IDS), IGNORE_INDEX),
        **{label: index for index, (label, _, _) in enumerate(LABELS)},
    }

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The 19 classes of the benchmark, in the order of the train ids."""
        return tuple(name for _, name, _ in LABELS)

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """The official colours."""
        return [colour for _, _, colour in LABELS]

    @property
    def few_labels_min_classes(self) -> int:
        """12, as in the ReCo authors' code."""
        return 12

    def preparation(self, sources: Sources) -> Preparation:
        """Pair the images of train and val with their masks of label ids."""
        splits: dict[SplitName, list[Pair]] = {}
        for split in self.published:
            images = self._images(sources, split)
            masks = sources.find(rf"(?:.*/)?gtFine/{split}/[^/]+/(\w[\w-]*)_gtFine_labelIds\.png")
            ids = sorted(images.keys() | masks.keys())
            splits[split] = [Pair(i, images.get(i), masks.get(i)) for i in ids]
        extra = self._images(sources, "train_extra")
        return Preparation("gtFine labelIds", splits, unlabelled=dict(sorted(extra.items())))

    @staticmethod
    def _images(sources: Sources, folder: str) -> dict[str, Member]:
        return sources.find(rf"(?:.*/)?leftImg8bit/{folder}/[^/]+/(\w[\w-]*)_leftImg8bit\.png")
