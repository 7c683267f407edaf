"""Pascal VOC 2012 with the additional masks of SBD ("train_aug")."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from bench.registry import register
from datasets.base import DatasetConfig, SplitName
from datasets.layout.decode import load_index_mask
from datasets.layout.files import read_lines, reason
from datasets.official.archives import Sources
from datasets.official.official import OfficialConfig, OfficialDataset
from datasets.official.prepare import Pair, Preparation

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
HIGH_QUALITY_LIST = "high_quality.txt"
_OTHER_YEARS = r"(?!.*VOC20(?:0\d|1[01])/)"  # the development kit of other years may lie beside 2012's
_SETS = rf"{_OTHER_YEARS}(?:.*/)?ImageSets/Segmentation"


class VocConfig(OfficialConfig):
    """Options of `voc`.

    Attributes:
        unlabelled: ``test``: the 1,456 images of the segmentation test set, whose masks aren't public, are prepared too, as
            unlabelled ones.
    """

    unlabelled: Annotated[Literal["test"] | None, Field(json_schema_extra={"identity": "non-default"})] = None


@register("dataset", "voc")
class Voc(OfficialDataset):
    """Pascal VOC 2012, 21 classes: 10,582 training images (train_aug: with SBD's masks), 1,449 validation images.

    Masks of training images are either SegmentationClassAug's, or VOC's own for its 1,464 training images and SBD's for
    the others; those of validation images are VOC's own.
    """

    Config: ClassVar[type[DatasetConfig]] = VocConfig
    published: ClassVar[dict[SplitName, int]] = {"train": 10_582, "val": 1_449}
    published_unlabelled: ClassVar[dict[str, int]] = {"test": 1_456}
    archives: ClassVar[tuple[str, ...]] = (
        *("VOCtrainval_11-May-2012", "VOC2012test"),
        *("benchmark", "SegmentationClassAug"),
    )
    checksums: ClassVar[dict[str, str]] = {  # as torchvision has them
        "VOCtrainval_11-May-2012.tar": "6cd6e144f989b92b3379bac3b3de84fd",
        "benchmark.tgz": "82b4d87ceb2ed10f6038a1cba92111cb",
    }
    wanted: ClassVar[str] = (
        "VOCtrainval_11-May-2012.tar and either benchmark.tgz (SBD) or SegmentationClassAug.zip, or their trees"
    )
    label_map: ClassVar[dict[int, int]] = {**{i: i for i in range(len(CLASSES))}, IGNORE_INDEX: IGNORE_INDEX}
    void_colour: ClassVar[tuple[int, int, int]] = (224, 224, 192)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Background and VOC's 20 classes."""
        return CLASSES

    @property
    def few_labels_min_classes(self) -> int:
        """3, as in the ReCo authors' code."""
        return 3

    @cached_property
    def high_quality(self) -> frozenset[str]:
        """VOC's own 1,464 training images."""
        return frozenset(read_lines(self.root / self.layout.lists / HIGH_QUALITY_LIST)) - {""}

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the lists of some splits, the file of class names, and VOC's own list."""
        return (*super().lists(splits), self.root / self.layout.lists / HIGH_QUALITY_LIST)

    def preparation(self, sources: Sources) -> Preparation:
        """Pair VOC's images with its own masks and those of SBD or SegmentationClassAug.

        The training list is ``train_aug.txt`` where the sources hold one, else all ids with a mask but those of val, sorted
        (which is the same: the list of the ReCo authors is sorted).
        """
        images = sources.find(rf"{_OTHER_YEARS}(?:.*/)?JPEGImages/([\w-]+)\.jpg")
        own = sources.find(rf"{_OTHER_YEARS}(?:.*/)?SegmentationClass/([\w-]+)\.png")
        augmented = sources.find(r"(?:.*/)?SegmentationClassAug/([\w-]+)\.png")
        sbd = {} if augmented else sources.find(r"(?:.*/)?cls/([\w-]+)\.mat")
        lists = sources.find(rf"{_SETS}/(train|val|test)\.txt")
        for name in ("train", "val"):
            if name not in lists:
                raise BenchError(f"--from {sources.folder}: no ImageSets/Segmentation/{name}.txt of VOC 2012 in it")
        train, val = sources.lines(lists["train"]), sources.lines(lists["val"])
        extra = augmented or sbd
        masks = {**own, **augmented} if augmented else {**sbd, **{i: own[i] for i in train if i in own}}
        test = sources.lines(lists["test"]) if "test" in lists else []
        ids = self._train_aug(sources) or sorted((set(train) | set(extra)) - set(val))
        return Preparation(
            masks="SegmentationClassAug" if augmented else "VOC and SBD" if sbd else "VOC alone",
            splits={
                "train": [Pair(i, images.get(i), masks.get(i)) for i in ids],
                "val": [Pair(i, images.get(i), own.get(i)) for i in val],
            },
            lists={HIGH_QUALITY_LIST: train},
            unlabelled={i: images.get(i) for i in test},
        )

    @staticmethod
    def _train_aug(sources: Sources) -> list[str]:
        """Read the published list: an id a line, or the paths of an image and its mask."""
        found = sources.find(r"(?:.*/)?(train_?aug)\.txt")
        lines = sources.lines(next(iter(found.values()))) if found else []
        return [PurePosixPath(line.split()[0]).stem for line in lines]

    @classmethod
    def decode_labels(cls, where: Path, data: bytes) -> Image.Image:
        """Return a mask's values: an index PNG (with a palette or without), or SBD's MATLAB file.

        Raises:
            BenchError: if it is damaged.
        """
        if where.suffix != ".mat":
            return load_index_mask(where, data)
        import scipy.io

        load: Any = scipy.io.loadmat  # its annotation knows paths only
        try:
            labels = load(io.BytesIO(data))["GTcls"][0]["Segmentation"][0]
            return Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
        except Exception as error:  # scipy raises almost anything for a damaged file
            raise BenchError(f"{where}: not a MATLAB file of SBD with GTcls.Segmentation ({reason(error)})") from None

    @classmethod
    def download(cls, config: DatasetConfig, folder: Path) -> None:
        """Download VOC 2012 and SBD with torchvision, and extract them, unless they are there.

        Raises:
            BenchError: if a download fails or its checksum differs.
        """
        from torchvision.datasets import SBDataset, VOCSegmentation

        sbd = folder / "sbd"
        # What each extraction writes last.
        voc_there, sbd_there = (folder / "VOCdevkit/VOC2012/SegmentationObject").is_dir(), (sbd / "val.txt").is_file()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            VOCSegmentation(str(folder), year="2012", image_set="trainval", download=not voc_there)
            if not sbd_there:  # torchvision can't go on with what it has half done
                for name in ("benchmark_RELEASE", "cls", "img", "inst"):
                    shutil.rmtree(sbd / name, ignore_errors=True)
                (sbd / "train.txt").unlink(missing_ok=True)
            SBDataset(str(sbd), image_set="train", mode="segmentation", download=not sbd_there)
        except Exception as error:  # torchvision passes on those of urllib, tarfile and its own RuntimeError
            raise BenchError(
                f"{folder}: the download failed ({reason(error)}); try again, or get {cls.wanted} and give --from DIR"
            ) from None
