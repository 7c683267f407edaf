"""What a dataset is: ids per split, decoded images and masks. No torch here, so that `split` and `data` start fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from bench.arrays import IGNORE_INDEX, UInt8
from bench.bounds import Side
from bench.config import Config
from bench.errors import BenchError

SplitName = Literal["train", "val", "test"]
FewLabelsProcedure = Literal["one_list", "class_lists"]
Progress = Callable[[int, int], None]  # (done, total)


class DatasetConfig(Config):
    """Options that every dataset has.

    Attributes:
        size: (height, width) to which images (bilinear, antialiased) and masks (nearest) are prepared, for training and
            for evaluation; None keeps each image's own size.
        long_side: the longer side to which images are prepared instead, in their shape, in the same way.
        eval_split: the split on which runs are evaluated.
        data: name under which the data is looked for, ``--data NAME=DIR`` or ``$BENCH_DATA/NAME``; by default the dataset's
            own. Several folders of one kind can so lie side by side.
        overlap: whether an id may be both a training image and an evaluated one; only where that is meant.
    """

    size: tuple[Side, Side] | None = None
    long_side: Annotated[int | None, Field(ge=8, le=16384, json_schema_extra={"identity": "non-default"})] = None
    eval_split: Literal["val", "test"] = "val"
    data: Annotated[str | None, Field(pattern=r"^[\w-][\w.-]*$", json_schema_extra={"identity": False})] = None
    overlap: Annotated[Literal["refuse", "allow"], Field(json_schema_extra={"identity": False})] = "refuse"

    @model_validator(mode="after")
    def _one_size(self) -> DatasetConfig:
        if self.size is not None and self.long_side is not None:
            raise ValueError("size and long_side exclude each other: set size: null for images in their shape")
        return self

    def prepared_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) to which an image of a size is prepared."""
        if self.long_side is None:
            return self.size or (height, width)
        longer = max(height, width)
        return max(round(height * self.long_side / longer), 1), max(round(width * self.long_side / longer), 1)

    def prepared(self, image: UInt8) -> UInt8:
        """Return an image (H, W, 3) resized to the prepared size: bilinear, antialiased."""
        from PIL import Image  # takes a while; planning decodes nothing

        height, width = self.prepared_size(*image.shape[:2])
        if image.shape[:2] == (height, width):
            return image
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)


@dataclass
class CheckReport:
    """What `data check` found. `problems` is empty for a dataset that can be used; each problem is one line."""

    dataset: str
    root: str
    counts: dict[str, int] = field(default_factory=dict)  # images per split
    annotated: dict[str, int] = field(default_factory=dict)  # those that have a mask
    class_pixels: dict[str, int] = field(default_factory=dict)  # pixels per class over all splits, and "void"
    class_images: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # "WxH" -> images
    classes_known: bool = True  # else the classes are named by their index
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # no faults: what it was made from, what is left out


@dataclass
class Health:
    """Whether a dataset can be trained and scored on, as far as headers and evaluated masks tell.

    Attributes:
        problems: each a line; with one, a score would be meaningless or a run would fail.
        warnings: each a line; what a person should know.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class SegmentationDataset:
    """Base class of datasets. Subclasses register with ``@register("dataset", NAME)``.

    Attributes:
        Config: the dataset's options (part of a cell's identity, except fields marked otherwise).
        needs_root: False for embedded datasets, which are made in `root` by :meth:`prepare` on first use.
        names_identify: whether an image's file name says which image it is, whatever folder a list of another repository
            gives it: true of published datasets, not of folders in which numbers begin anew.
    """

    Config: ClassVar[type[DatasetConfig]] = DatasetConfig
    needs_root: ClassVar[bool] = True
    names_identify: ClassVar[bool] = False

    def __init__(self, config: DatasetConfig, root: Path) -> None:
        self.config = config
        self.root = root

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        raise NotImplementedError

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """RGB colour per class, in which masks are drawn."""
        raise NotImplementedError

    @property
    def few_labels_min_classes(self) -> int:
        """Least number of classes in an image that the `few_labels` protocol takes (VOC 3, Cityscapes 12)."""
        return 1

    @property
    def few_labels_procedure(self) -> FewLabelsProcedure:
        """How the `few_labels` protocol draws: from one shuffled list, or from one list per class (SUN RGB-D)."""
        return "one_list"

    @property
    def high_quality(self) -> frozenset[str] | None:
        """Ids with high-quality annotation (VOC's original 1,464), or None where there is no such distinction."""
        return None

    def ids(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids of a split in the published order, or sorted where there is none; never directory order.

        Training ids are those of all images that can be trained on, unlabelled photographs included.
        """
        raise NotImplementedError

    @property
    def annotated(self) -> tuple[str, ...]:
        """The training ids that have a mask, in the order of the list; by default all of them."""
        return self.ids("train")

    def files(self, split: SplitName) -> dict[str, tuple[Path, ...]]:
        """Return the files that are read for each id of a split, the image first, then the mask; they identify the data.

        By default every file of the dataset's folder belongs to every split, under its own name: a change of any of them
        is a change of the data. An embedded dataset has no files, by default.
        """
        if not self.needs_root:
            return dict.fromkeys(self.ids(split), ())
        found = sorted(path for path in self.root.rglob("*") if path.is_file()) if self.root.is_dir() else []
        return {path.relative_to(self.root).as_posix(): (path,) for path in found}

    def lists(self, splits: Sequence[SplitName]) -> tuple[Path, ...]:
        """Return the files that say what the ids and the classes are."""
        return ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What decides labels or splits besides the files of each image, as JSON types; part of what identifies the data."""
        return {} if self.high_quality is None else {"high_quality": sorted(self.high_quality)}

    @property
    def made(self) -> Mapping[str, str]:
        """SHA-256 of each file as this harness's code made it, by its path in the folder; empty where it didn't."""
        return {}

    def image(self, image_id: str) -> UInt8:
        """Return the decoded, prepared RGB image, (H, W, 3) uint8."""
        raise NotImplementedError

    def mask(self, image_id: str) -> UInt8:
        """Return the prepared mask, (H, W) uint8: class index, 255 = void."""
        raise NotImplementedError

    def classes_in(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        """Return the classes present in some images' prepared masks, without void, as {id: class indices}.

        Raises:
            BenchError: if a mask can't be used.
        """
        return {i: frozenset(np.unique(self.mask(i)).tolist()) - {IGNORE_INDEX} for i in ids}

    def health(self) -> Health:
        """Look whether the dataset can be trained and scored on, without decoding more than evaluated masks.

        What was looked at once isn't looked at again until its file changes. By default nothing is.
        """
        return Health()

    @classmethod
    def prepare(cls, config: DatasetConfig, root: Path, source: Path | None, progress: Progress | None = None) -> None:
        """Make the dataset in `root` (from `source` where it needs one). Doing it again is quick and changes nothing.

        Raises:
            BenchError: if it can't be made, with what to do.
        """
        raise BenchError(f"there is nothing to prepare: point --data at the dataset's folder (now {root})")

    @classmethod
    def download(cls, config: DatasetConfig, folder: Path) -> None:
        """Download the official archives into `folder`, for :meth:`prepare`.

        Raises:
            BenchError: if that can't be done, with what to do.
        """
        raise BenchError(
            "this dataset can't be downloaded by a program; get its archives and give them with --from DIR"
        )

    def check(self, progress: Progress | None = None) -> CheckReport:
        """Walk the whole dataset and report every problem, not only the first."""
        raise NotImplementedError
