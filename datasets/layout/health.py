"""Whether a dataset in VOC layout can be trained and scored on: found from headers, hashes and the labels of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from bench.arrays import IGNORE_INDEX
from bench.errors import BenchError
from datasets.base import DatasetConfig, Health, SplitName
from datasets.layout.decode import Header, oversize, read_header, refuse_other_format, too_deep
from datasets.layout.places import Places
from datasets.layout.stamps import Known, hashes_of

VOID_SHARE = 0.5  # of a split's pixels, above which it is said
_UPRIGHT = 1  # EXIF's orientation of pixels that are stored as they are meant to be seen
_SIDEWAYS = (5, 6, 7, 8)  # those that exchange width and height
_SHOWN = 3


class Walked(Protocol):
    """What is asked of a dataset."""

    root: Path
    config: DatasetConfig
    max_pixels: int

    @property
    def images(self) -> Places:
        """Where images lie."""

    @property
    def masks(self) -> Places:
        """Where masks lie."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""

    @property
    def annotated(self) -> tuple[str, ...]:
        """Training ids that have a mask."""

    def ids(self, split: SplitName) -> tuple[str, ...]:
        """Return the ids of a split."""

    def image_path(self, image_id: str) -> Path:
        """Return an image's file, or where it would be."""

    def mask_path(self, image_id: str) -> Path:
        """Return a mask's file, or where it would be."""

    def labels_in(self, ids: Sequence[str]) -> Mapping[str, Mapping[int, int]]:
        """Return the pixels of each label in some images' prepared masks."""


def health_of(dataset: Walked) -> Health:
    """Compare images with their masks by headers and hashes, and judge the labels of the evaluated masks.

    Training masks aren't decoded: one that no run reads may hold anything.
    """
    health, evaluated = Health(), dataset.config.eval_split
    train, scored = dataset.ids("train"), dataset.ids(evaluated)
    masks = dict.fromkeys([*dataset.annotated, *scored])
    overlap(health, dataset.config, train, scored)
    pairs = Pairs(dataset, list(dict.fromkeys([*train, *scored])), masks)
    health.problems += pairs.problems()
    health.warnings += pairs.warnings()
    health.warnings += pairs.twins(train, scored, evaluated)
    if not health.problems:
        try:
            counts = list(dataset.labels_in(scored).values())
        except BenchError as error:
            health.problems.append(str(error))
            return health
        judged = judge(evaluated, counts, dataset.classes)
        health.problems += judged.problems
        health.warnings += judged.warnings
    return health


def overlap(health: Health, config: DatasetConfig, train: Sequence[str], scored: Sequence[str]) -> None:
    """Add what is to be said of ids that are trained on and evaluated."""
    twice = set(scored)
    both = [image_id for image_id in train if image_id in twice]
    if not both:
        return
    text = f"{len(both)} of {len(scored)} {config.eval_split} images are training images too ({some(both)})"
    if config.overlap == "allow":
        health.warnings.append(f"{text}; allowed by dataset.overlap")
    else:
        health.problems.append(f"{text}; mend the lists, or say dataset: {{overlap: allow}} where that is meant")


def some(ids: Sequence[str], shown: int = _SHOWN) -> str:
    """Return the first few ids of many."""
    return ", ".join(ids[:shown]) + (", …" if len(ids) > shown else "")


# -- images and their masks ------------------------------------------------------------------------------------------------


def _find_header(path: Path) -> JsonValue:
    try:
        header = read_header(path)
    except BenchError as error:
        return str(error)
    return [header.width, header.height, header.format, header.mode, header.orientation]


def _parse_header(raw: JsonValue) -> Header | str:
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, list):
        raise TypeError("not a header")
    width, height, kind, mode, orientation = raw
    return Header(int(str(width)), int(str(height)), str(kind), str(mode), int(str(orientation)))


class Pairs:
    """Images and their masks, compared by what is known of them without decoding.

    Args:
        dataset: what they are of.
        ids: of the images.
        masks: those of them whose masks are looked at.
    """

    def __init__(self, dataset: Walked, ids: Sequence[str], masks: Mapping[str, object]) -> None:
        self._dataset, self._masks, self._ids = dataset, masks, ids
        self._ambiguous: dict[str, str] = {}
        self._images = self._paths(ids, "image")
        self._mask_paths = self._paths([i for i in ids if i in masks], "mask")
        paths = [*self._images.values(), *self._mask_paths.values()]
        self._headers = Known(dataset.root, "headers and depth", _find_header, _parse_header).of(paths)
        # Of what has no header nothing more need be known; it may be a FIFO.
        self._hashes = hashes_of(dataset.root, [path for path in paths if isinstance(self._headers[path], Header)])

    def _paths(self, ids: Sequence[str], what: str) -> dict[str, Path]:
        found = {}
        for image_id in ids:
            try:
                path = self._dataset.image_path(image_id) if what == "image" else self._dataset.mask_path(image_id)
                found[image_id] = path
            except BenchError as error:
                self._ambiguous[image_id] = str(error)
        return found

    def faulty(self) -> dict[str, list[str]]:
        """Return the problems of each image that has one."""
        found = {image_id: self._of(image_id) for image_id in self._ids}
        return {image_id: problems for image_id, problems in found.items() if problems}

    def readable(self, image_id: str) -> tuple[bool, bool]:
        """Return whether image and mask have a header that can be read, so that decoding them tells something new."""
        found = (self._images.get(image_id), self._mask_paths.get(image_id))
        image, mask = (isinstance(self._headers[path], Header) if path is not None else False for path in found)
        return image, mask

    def problems(self) -> list[str]:
        """Return every problem, a line each."""
        return [problem for problems in self.faulty().values() for problem in problems]

    def _of(self, image_id: str) -> list[str]:
        if image_id in self._ambiguous:
            return [self._ambiguous[image_id]]
        image = self._headers[self._images[image_id]]
        found = [self._dataset.images.missing(image_id)] if image is None else []
        found += [image] if isinstance(image, str) else []
        found += self._oversize(image, self._images[image_id])
        if isinstance(image, Header) and (fault := too_deep(image.mode, self._images[image_id])):
            found.append(fault)
        if image_id not in self._masks:
            return found
        path = self._mask_paths[image_id]
        mask = self._headers[path]
        if mask is None:
            return [*found, self._dataset.masks.missing(image_id)]
        if isinstance(mask, str):
            return [*found, mask]
        found += self._oversize(mask, path)
        try:
            refuse_other_format(mask, path)
        except BenchError as error:
            return [*found, str(error)]
        if isinstance(image, Header):
            found += self._compared(image_id, image, mask)
        return found

    def _oversize(self, header: Header | str | None, path: Path) -> list[str]:
        text = oversize(header, path, self._dataset.max_pixels) if isinstance(header, Header) else ""
        return [text] if text else []

    def _compared(self, image_id: str, image: Header, mask: Header) -> list[str]:
        image_path, mask_path = self._images[image_id], self._mask_paths[image_id]
        if self._hashes[image_path] == self._hashes[mask_path]:
            return [f"{image_path}: image and mask of '{image_id}' are one file's content ({mask_path})"]
        if (image.width, image.height) == (mask.width, mask.height):
            return []
        text = f"{mask_path}: the mask is {mask.size}, its image {image.size}"
        if image.orientation in _SIDEWAYS and (image.width, image.height) == (mask.height, mask.width):
            text += "; the image is turned by EXIF, which isn't followed: store it upright"
        return [text]

    def warnings(self) -> list[str]:
        """Return what should be known of images that can be read."""
        headers = {i: self._headers[path] for i, path in self._images.items()}
        turned = [i for i, h in headers.items() if isinstance(h, Header) and h.orientation != _UPRIGHT]
        if not turned:
            return []
        return [
            f"{len(turned)} images are turned by EXIF ({some(turned)}), which isn't followed: pixels are read as stored, so "
            "their masks must be drawn on them as stored"
        ]

    def twins(self, train: Sequence[str], scored: Sequence[str], evaluated: str) -> list[str]:
        """Return what is to be said of evaluated images that are copies of training images under another name."""
        known = {self._hash(i): i for i in train if i in self._images and self._hash(i) is not None}
        ids = set(train)
        copies = [i for i in scored if i in self._images and i not in ids and self._hash(i) in known]
        if not copies:
            return []
        named = [f"{i} = {known[self._hash(i)]}" for i in copies]
        return [f"{len(copies)} {evaluated} images are copies of training images under another name ({some(named)})"]

    def _hash(self, image_id: str) -> str | None:
        return self._hashes.get(self._images[image_id])


# -- labels ----------------------------------------------------------------------------------------------------------------


def judge(split: str, masks: Sequence[Mapping[int, int]], classes: Sequence[str], thorough: bool = False) -> Health:
    """Judge the labels of a split's masks: what makes a score meaningless, and what a person should know.

    Args:
        split: its name.
        masks: of each mask the pixels by label, at least one.
        classes: class names in index order.
        thorough: tell what is no fault too, such as classes that every image has.
    """
    health = Health()
    pixels = Counter[int]()
    for mask in masks:
        pixels.update(mask)
    seen = [index for index in range(len(classes)) if pixels[index]]
    use = "learnt" if split == "train" else "scored"
    lacking = [classes[index] for index in range(len(classes)) if not pixels[index]]
    total, void = sum(pixels.values()), pixels[IGNORE_INDEX]
    if len(classes) == 1:
        health.problems.append(
            f"one class alone ('{classes[0]}'): its IoU is always 100; give what isn't it a class too, such as 'background'"
        )
    elif not seen:
        health.problems.append(f"{split}: no mask has a pixel with a label, all are void (255); nothing can be {use}")
    elif len(seen) == 1:
        health.problems.append(_single(split, classes, seen[0], void))
    elif lacking:
        health.warnings.append(f"{split}: no pixel of {some(lacking, 8)} ({len(lacking)} of {len(classes)} classes)")
    if seen and void > VOID_SHARE * total:
        health.warnings.append(f"{split}: {100 * void / total:.0f} % of the pixels are void (255)")
    everywhere = [classes[i] for i in seen if len(masks) > 1 and all(mask.get(i) for mask in masks)]
    if thorough and len(seen) > 1 and everywhere:
        health.warnings.append(f"{split}: in every image: {some(everywhere, 8)}")
    return health


def _single(split: str, classes: Sequence[str], index: int, void: int) -> str:
    text = f"{split}: '{classes[index]}' is the only class with pixels, so a score says nothing of the others"
    if void:
        text += (
            f"; the masks hold {index} and 255, and 255 is void: where 255 is meant as a class, say so in `classes` or save "
            "the class's index"
        )
    return text
