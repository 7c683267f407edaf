"""ReCo's "Full Labels, Partial Dataset": a few fully labelled images in which no class is forgotten.

There are two procedures; a dataset says which.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

import bench.config
from bench.errors import BenchError
from bench.registry import register
from datasets.base import FewLabelsProcedure, SegmentationDataset
from datasets.split import Protocol, Split, described


class FewLabelsConfig(bench.config.Config):
    """Options of `few_labels`.

    Attributes:
        labels: number of labelled images.
        min_classes: least number of classes in a labelled image; by default the dataset's own (VOC 3, Cityscapes 12).
    """

    labels: Annotated[int, Field(ge=1)]
    min_classes: Annotated[int, Field(ge=1, le=255)] | None = None


class _ExhaustedError(Exception):
    """No image that is left can be taken."""


def draw_few_labels(
    ids: Sequence[str], presence: Mapping[str, frozenset[int]], labels: int, min_classes: int, seed: int
) -> list[str]:
    """Draw the labelled images.

    Shuffle the list, pop from its end. Take an image that has at least `min_classes` classes, one of which is a class
    seen least so far; set others aside, and go through these in the same way (last one first) when the list is used up.
    Source: ``get_pascal_idx`` in ``build_data.py`` of lorenmt/reco; for VOC's published train list and seeds 0, 1, 2 it
    gives the authors' splits.

    The authors' loop never ends where nothing more can be taken. Here that is an error, and the classes that no
    qualifying image contains are left out of "seen least", since waiting for one would be such a case; wherever the
    authors' loop ends, the outcome is theirs.

    Args:
        ids: the training list.
        presence: classes per image, without void.
        labels: how many images to take.
        min_classes: least number of classes in an image.
        seed: of Python's ``random.Random``.

    Returns:
        The ids in the order in which they were taken; with fewer `labels`, the beginning of the same sequence.

    Raises:
        _ExhaustedError: if a whole pass takes no image.
    """
    waiting, aside = list(ids), list[str]()
    random.Random(seed).shuffle(waiting)  # noqa: S311 - the authors' generator
    seen = Counter(dict.fromkeys((c for i in ids if len(presence[i]) >= min_classes for c in presence[i]), 0))
    least = set(seen)
    taken: list[str] = []
    taken_before_pass = -1
    while len(taken) < labels:
        if not waiting:
            if not aside or len(taken) == taken_before_pass:
                raise _ExhaustedError
            waiting, aside, taken_before_pass = aside, [], len(taken)
        image_id = waiting.pop()
        if len(presence[image_id]) < min_classes or least.isdisjoint(presence[image_id]):
            aside.append(image_id)
            continue
        taken.append(image_id)
        seen.update(presence[image_id])
        fewest = min(seen.values())
        least = {c for c, count in seen.items() if count == fewest}
    return taken


def draw_from_class_lists(
    ids: Sequence[str], presence: Mapping[str, frozenset[int]], labels: int, min_classes: int, seed: int
) -> list[str]:
    """Draw the labelled images as ReCo does for SUN RGB-D.

    Shuffle the list and deal it out to one list per class, an image to each class that it has. Again and again, of the
    classes whose list isn't used up take the one seen least (the first of several), and the image at the end of its list,
    unless it was taken before. Source: ``get_sun_idx`` in ``build_data.py`` of lorenmt/reco, which fails where the lists of
    all classes seen least are used up; here the next class is taken then. Its training list has the directory's order, so
    the authors' own splits can't be reproduced.

    Args:
        ids: the training list.
        presence: classes per image, without void.
        labels: how many images to take.
        min_classes: least number of classes in an image.
        seed: of Python's ``random.Random``.

    Returns:
        The ids in the order in which they were taken.

    Raises:
        _ExhaustedError: if the lists of all classes are used up.
    """
    order = list(ids)
    random.Random(seed).shuffle(order)  # noqa: S311 - the authors' generator
    lists: dict[int, list[str]] = {}
    for image_id in order:
        if len(presence[image_id]) >= min_classes:
            for index in presence[image_id]:
                lists.setdefault(index, []).append(image_id)
    seen = Counter(dict.fromkeys(lists, 0))
    taken: dict[str, None] = {}
    while len(taken) < labels:
        left = [index for index, waiting in lists.items() if waiting]
        if not left:
            raise _ExhaustedError
        image_id = lists[min(left, key=lambda index: (seen[index], index))].pop()
        if image_id not in taken:
            taken[image_id] = None
            seen.update(presence[image_id])
    return list(taken)


_PROCEDURES: dict[FewLabelsProcedure, Callable[..., list[str]]] = {
    "one_list": draw_few_labels,
    "class_lists": draw_from_class_lists,
}


@register("protocol", "few_labels")
class FewLabels(Protocol):
    """ReCo's protocol: a few fully labelled images, chosen so that no class is forgotten; the rest is unlabelled."""

    Config: ClassVar[type[bench.config.Config]] = FewLabelsConfig
    shorthand: ClassVar[str | None] = "labels"

    def __init__(self, config: FewLabelsConfig) -> None:
        super().__init__(config)
        self._labels = config.labels
        self._min_classes = config.min_classes

    @property
    def title(self) -> str:
        """The number of labelled images."""
        return str(self._labels)

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Draw the split; the labelled ids are in the order in which they were taken.

        Raises:
            BenchError: if so many images can't be taken, with how many qualify.
        """
        every, ids = dataset.ids("train"), dataset.annotated
        least = self._min_classes or dataset.few_labels_min_classes
        if self._labels > len(ids) or self._labels == len(every):
            raise BenchError(
                f"protocol 'few_labels' {self._labels}: there are {described(dataset)}; ask for fewer, or use `full`"
            )
        presence = dataset.classes_in(ids)
        try:
            draw = _PROCEDURES[dataset.few_labels_procedure]
            labelled = draw(ids, presence, self._labels, least, seed)
        except _ExhaustedError:
            qualify = sum(len(presence[i]) >= least for i in ids)
            raise BenchError(
                f"protocol 'few_labels' {self._labels}: of {described(dataset)} {qualify} qualify (at least {least} "
                "classes), and those left contain no class seen least so far; ask for fewer labels, lower min_classes, "
                "or use `ratio`"
            ) from None
        taken = set(labelled)
        return Split(tuple(labelled), tuple(i for i in every if i not in taken))
