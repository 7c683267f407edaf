"""A label split: which training images are labelled, as a manifest that can be compared and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

import bench.config
from bench.arrays import UInt8
from bench.errors import BenchError
from bench.seeds import derive
from datasets.base import SegmentationDataset


@dataclass(frozen=True)
class Split:
    """The outcome of a protocol: ids only; order is the protocol's own (kept in the manifest), the hash ignores it.

    Attributes:
        labelled: ids of labelled images.
        unlabelled: ids of unlabelled images.
        visible_labels: where images are labelled in part, what decides which of their labels are visible, in words; ""
            where all are. A manifest's key for it is `given`.
        holdout: ids of images of the label budget that are not trained on; see :func:`hold_out`.
    """

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    visible_labels: str = ""
    holdout: tuple[str, ...] = ()

    @property
    def budget(self) -> tuple[str, ...]:
        """Ids of all images whose labels a run may use: those to train on, then those held out."""
        return self.labelled + self.holdout

    @property
    def sha256(self) -> str:
        """SHA-256 of the sorted id lists and of `visible_labels`, which is what a cell's identity contains."""
        parts: list[object] = [sorted(self.labelled), sorted(self.unlabelled)]
        parts += [self.visible_labels] if self.visible_labels else []
        parts += [sorted(self.holdout)] if self.holdout else []
        return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def hold_out(split: Split, count: int, seed: int) -> Split:
    """Take images out of a split's labelled ones, on which a run's checkpoint is chosen.

    The labelled ids are ordered by a hash of (seed, id), and the first are taken: a uniform draw that depends on the set
    of labelled images and the seed alone, and of which a smaller one is the beginning. It doesn't look at classes, so
    few images may lack some; the mIoU on them is over the classes that occur there. They leave the unlabelled list too.

    Args:
        split: as its protocol drew it.
        count: how many images to take; 0 returns the split as it is.
        seed: the split seed.

    Raises:
        BenchError: if no labelled image would be left to train on.
    """
    if count >= len(split.labelled):
        raise BenchError(
            f"evaluation.holdout {count}: a split has {len(split.labelled)} labelled images, and at least one must be "
            "left to train on; hold out fewer, or label more"
        )
    held = sorted(split.labelled, key=lambda image_id: (derive(seed, "holdout", image_id), image_id))[:count]
    taken = set(held)
    labelled, unlabelled = (tuple(i for i in ids if i not in taken) for ids in (split.labelled, split.unlabelled))
    return replace(split, labelled=labelled, unlabelled=unlabelled, holdout=tuple(held))


def annotated(dataset: SegmentationDataset) -> tuple[str, ...]:
    """Return the training ids that have a mask.

    Raises:
        BenchError: if none has.
    """
    if not (ids := dataset.annotated):
        raise BenchError(f"no training image has a mask: there are {described(dataset)}")
    return ids


def described(dataset: SegmentationDataset) -> str:
    """Return in words how many training images there are, and how many have a mask where not all do."""
    every, masked = len(dataset.ids("train")), len(dataset.annotated)
    return f"{every} training images" + (f", {masked} with a mask" if masked < every else "")


class Protocol:
    """Base class of protocols. Subclasses register with ``@register("protocol", NAME)``.

    Attributes:
        Config: the protocol's options.
        shorthand: the field that a bare value sets: ``few_labels: 20`` is ``{name: few_labels, labels: 20}``; None where
            the protocol takes no value (``full``).
    """

    Config: ClassVar[type[bench.config.Config]] = bench.config.Config
    shorthand: ClassVar[str | None] = None

    def __init__(self, config: bench.config.Config) -> None:
        self.config = config

    @property
    def title(self) -> str:
        """Short readable name of the budget, used in slugs, tables and axes: ``20``, ``1/4``, ``full``."""
        raise NotImplementedError

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Draw the split. A pure function of (dataset, options, seed): it never depends on a method."""
        raise NotImplementedError

    def visible(self, image_id: str, mask: UInt8, seed: int) -> UInt8:
        """Return what a labelled image's mask (H, W) shows in training; 255 where the label is withheld."""
        return mask


class Manifest(BaseModel):
    """A split as the store keeps it: a JSON file with these keys; keys that it doesn't know are passed over.

    Attributes:
        dataset: registered name of the dataset.
        protocol: the protocol's name and options, as they identify a cell.
        title: see :attr:`Protocol.title`.
        seed: the split seed.
        labelled: ids of labelled images, in the protocol's order.
        unlabelled: ids of unlabelled images.
        visible_labels: see :class:`Split`; the key is `given`, and it is absent where all labels are visible.
        holdout: ids of the images held out of the labelled ones; the key is absent where there are none.
        labelled_images_per_class: images of `labelled` that have a pixel of the class, by class name.
        labelled_high_quality: labelled images with high-quality annotation; None where the dataset has no such distinction.
        sha256: see :attr:`Split.sha256`.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    dataset: str
    protocol: dict[str, JsonValue]
    title: str
    seed: int
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    visible_labels: str = Field(default="", alias="given")
    holdout: tuple[str, ...] = ()
    labelled_images_per_class: dict[str, int]
    labelled_high_quality: int | None
    sha256: str

    @property
    def split(self) -> Split:
        """The split itself."""
        return Split(self.labelled, self.unlabelled, self.visible_labels, self.holdout)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the manifest as JSON types, under the keys of the file."""
        dump: dict[str, JsonValue] = self.model_dump(mode="json", by_alias=True)
        if not self.visible_labels:
            del dump["given"]
        if not self.holdout:
            del dump["holdout"]
        return dump


def make_manifest(
    split: Split, dataset: SegmentationDataset, name: str, protocol: Protocol, options: Mapping[str, Any], seed: int
) -> Manifest:
    """Return a split's manifest: how it was drawn, and how many labelled images have each class.

    Args:
        split: what `protocol` drew on `dataset` with `seed`.
        dataset: opened.
        name: the dataset's registered name.
        protocol: gives the title.
        options: the protocol's name and options, as JSON types.
        seed: the split seed.
    """
    counts = dict.fromkeys(dataset.classes, 0)
    present = dataset.classes_in(split.labelled)
    for image_id in split.labelled:
        for index in present[image_id]:
            counts[dataset.classes[index]] += 1
    quality = dataset.high_quality
    return Manifest(
        dataset=name,
        protocol=dict(options),
        title=protocol.title,
        seed=seed,
        labelled=split.labelled,
        unlabelled=split.unlabelled,
        visible_labels=split.visible_labels,
        holdout=split.holdout,
        labelled_images_per_class=counts,
        labelled_high_quality=None if quality is None else sum(i in quality for i in split.labelled),
        sha256=split.sha256,
    )
