"""SUN RGB-D, semantic segmentation of its colour images, 37 classes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from bench.registry import register
from datasets.base import DatasetConfig, FewLabelsProcedure, SplitName
from datasets.layout.palette import voc_palette
from datasets.official.archives import Sources
from datasets.official.official import OfficialConfig, OfficialDataset
from datasets.official.prepare import Pair, Preparation

CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
    *(
        "blinds",
        "desk",
        "shelves",
        "curtain",
        "dresser",
        "pillow",
        "mirror",
        "floor mat",
        "clothes",
        "ceiling",
        "books",
    ),
    *("fridge", "tv", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand", "toilet"),
    *("sink", "lamp", "bathtub", "bag"),
)
_TEST_IMAGES = 5_050  # labels 1 to 5,050 are theirs, those of the training images follow
# Name of the image folder, and what to add to an image's number for that of its label.
_FOLDERS: dict[SplitName, tuple[str, int]] = {"train": ("train", _TEST_IMAGES), "val": ("test", 0)}
_LABEL_FOLDER = r"sunrgbd_(?:train_test|test_train)_labels"


class SunRgbdConfig(OfficialConfig):
    """Options of `sun_rgbd`.

    Attributes:
        size: (height, width); by default that of ReCo's preparation.
        split: ``official``, 5,285 / 5,050; or ``reco``, what the ReCo authors' code trains and evaluates on: the 475 test
            images that ``dataset/sun/test_idx.txt`` of their repository names are evaluated, the other 4,575 are training
            images too (9,860 / 475). It can be prepared where the sources hold this file.
    """

    size: tuple[int, int] | None = (384, 512)
    split: Annotated[Literal["official", "reco"], Field(json_schema_extra={"identity": "non-default"})] = "official"


@register("dataset", "sun_rgbd")
class SunRgbd(OfficialDataset):
    """SUN RGB-D, 37 classes: 5,285 training images; its 5,050 test images are `val`. Prepared at 384x512.

    An id is the name of the label image, ``img-000001`` to ``img-010335``. There are no official colours: masks are drawn
    in those of Pascal VOC, from its second on.
    """

    Config: ClassVar[type[DatasetConfig]] = SunRgbdConfig
    published: ClassVar[dict[SplitName, int]] = {"train": 5_285, "val": 5_050}
    archives: ClassVar[tuple[str, ...]] = (
        *("SUNRGBD-train_images", "SUNRGBD-test_images"),
        *("sunrgbd_train_test_labels", "sunrgbd_test_train_labels"),
    )
    wanted: ClassVar[str] = (
        "SUNRGBD-train_images.tgz, SUNRGBD-test_images.tgz and sunrgbd_train_test_labels.tar.gz, or their trees"
    )
    label_map: ClassVar[dict[int, int]] = {0: IGNORE_INDEX, **{i + 1: i for i in range(len(CLASSES))}}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The 37 classes."""
        return CLASSES

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """Pascal VOC's colours from its second on, since its first is black."""
        return voc_palette(len(CLASSES) + 1)[1:]

    @property
    def few_labels_procedure(self) -> FewLabelsProcedure:
        """From a list per class, as in the ReCo authors' code."""
        return "class_lists"

    def list_path(self, split: SplitName) -> Path:
        """Return the list of a split: the official one, or that of the ReCo authors' code."""
        assert isinstance(self.config, SunRgbdConfig)
        folder = self.root / self.layout.lists
        return (folder if self.config.split == "official" else folder / self.config.split) / f"{split}.txt"

    def preparation(self, sources: Sources) -> Preparation:
        """Pair images with labels, which count on from the test images to the training images.

        Raises:
            BenchError: if the images were renamed by another preparation, or ReCo's split is asked for without its list.
        """
        labels = {int(n): m for n, m in sources.find(rf"(?:.*/)?{_LABEL_FOLDER}/(?:.*/)?img-(\d+)\.png").items()}
        splits: dict[SplitName, list[Pair]] = {}
        for split, (folder, offset) in _FOLDERS.items():
            images = {
                int(number) + offset: member
                for number, member in sources.find(rf"(?:.*/)?SUNRGBD-{folder}_images/(?:.*/)?img-(\d+)\.jpg").items()
            }
            if max(images, default=0) > self.published[split] + offset:
                raise BenchError(
                    f"--from {sources.folder}: SUNRGBD-{folder}_images goes up to number {max(images) - offset}, the "
                    f"official one to {self.published[split]}: another program renamed its files; give the archive"
                )
            own = {n for n in labels if (n > _TEST_IMAGES) == (offset > 0)}
            splits[split] = [Pair(_id(n), images.get(n), labels.get(n)) for n in sorted(images.keys() | own)]
        return Preparation("the 37-class labels", splits, self._reco_lists(sources, splits))

    def _reco_lists(self, sources: Sources, splits: dict[SplitName, list[Pair]]) -> dict[str, list[str]]:
        """Return the lists of ReCo's split where the sources hold its ``test_idx.txt``."""
        assert isinstance(self.config, SunRgbdConfig)
        found = sources.find(r"(?:.*/)?(test_idx)\.txt")
        if not found:
            if self.config.split == "official":
                return {}
            raise BenchError(
                f"--from {sources.folder}: split 'reco' needs dataset/sun/test_idx.txt of the ReCo authors' repository there"
            )
        lines = sources.lines(found["test_idx"])
        if not all(line.isdigit() for line in lines):
            raise BenchError(f"{found['test_idx'].where}: not numbers of test images, one a line")
        test = {_id(int(line)) for line in lines}
        everything = sorted(pair.image_id for pairs in splits.values() for pair in pairs)
        return {
            "reco/train.txt": [i for i in everything if i not in test],
            "reco/val.txt": [i for i in everything if i in test],
        }


def _id(number: int) -> str:
    return f"img-{number:06d}"
