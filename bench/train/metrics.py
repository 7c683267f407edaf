"""Confusion matrices per image, and the score of their sum, the matrix of the dataset; all in int64."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from typing_extensions import NotRequired

from bench.class_mean import mean_over_classes
from bench.store.confusion import ImageCounts

PIXELS = 1 << 22  # that are counted at a time, at some 25 bytes each


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count pixels by (label, prediction), void left out.

    Args:
        prediction: class indices in [0, num_classes), any shape, integer.
        label: same shape; values outside [0, num_classes) are void.
        num_classes: K.

    Returns:
        (K, K) int64: row = ground truth, column = prediction. No host synchronisation.
    """
    return confusion_matrices(prediction.reshape(1, -1), label.reshape(1, -1), num_classes)[0]


def confusion_matrices(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Return the :func:`confusion_matrix` of each image: (B, K, K) int64 of predictions and labels (B, …)."""
    step = max(PIXELS // max(len(label), 1), 1)
    parts = zip(*(torch.split(pixels.flatten(1), step, 1) for pixels in (label, prediction)), strict=True)
    counts = [_pair_counts(part.long(), found.long(), num_classes) for part, found in parts]
    return sum(counts[1:], counts[0]).view(len(label), num_classes, num_classes)


def _pair_counts(label: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count pairs of (B, M) int64: (B, K · K) int64."""
    valid = (label >= 0) & (label < num_classes)
    # void pixels go to one extra bin instead of being selected, which would wait for the device
    index = torch.where(valid, label * num_classes + prediction, num_classes * num_classes)
    return bin_counts(index, num_classes * num_classes)


def bin_counts(index: Tensor, bins: int) -> Tensor:
    """Return how often each of 0 … bins - 1 occurs in the rows of (B, M) int64: (B, bins) int64; `bins` isn't counted."""
    counts = torch.zeros(len(index), bins + 1, dtype=torch.int64, device=index.device)
    with _any_order():
        counts.scatter_add_(1, index, index.new_ones(()).expand_as(index))
    return counts[:, :-1]


@contextmanager
def _any_order() -> Iterator[None]:
    """Allow algorithms that add in any order, for integers: their sums are the same bits in each.

    In strict deterministic mode CUDA would sort all pixels; ``bincount`` would wait for the device.
    """
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


class Tally:
    """Gathers matrices of images that come in any order, on the device that made them, and their sum.

    They are copied to the host when all are there; before that only where they take more than :data:`WAITING` bytes, as do
    those of some 700 images of 150 classes. The sum stays on the device, so that nothing waits for it before it is scored.

    Args:
        num_classes: K.
        device: of the matrices.

    Attributes:
        total: (K, K) int64, the sum, on the device.
    """

    WAITING = 64 << 20

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.total = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self._places: list[int] = []
        self._waiting: list[Tensor] = []
        self._parts = [ImageCounts.of(np.zeros((0, num_classes, num_classes), np.int64))]
        self._near: list[Tensor] = []

    def add(self, places: Iterable[int], matrices: Tensor, near: Tensor | None = None) -> None:
        """Take matrices (B, K, K) int64 of the images that stand at these places, from 0, among all.

        `near` is (B, 3, K) int64, see ``bench.train.boundary``: given of all images or of none.
        """
        self.total += matrices.sum(0)
        self._places += places
        self._near += [] if near is None else [near]
        self._waiting.append(matrices.int())  # an image has fewer than 2³¹ pixels
        if sum(part.nbytes for part in self._waiting) > self.WAITING:
            self._fetch()

    def _fetch(self) -> None:
        self._parts.append(ImageCounts.of(torch.cat(self._waiting).cpu().numpy()))
        self._waiting.clear()

    def images(self) -> ImageCounts:
        """Return the matrices of all images in their order."""
        if self._waiting:
            self._fetch()
        found = ImageCounts.joined(self._parts, self._places)
        if not self._near:
            return found
        return replace(found, near=torch.cat(self._near).cpu().numpy()[np.argsort(self._places)].astype(np.uint32))


class ScoreRecord(TypedDict):
    """A score as JSON types; see :class:`Score`."""

    miou: float
    pixel_accuracy: float
    iou: list[float | None]


class EvaluationRecord(ScoreRecord):
    """A score with the step (optimizer steps done) after which it was measured.

    `holdout_miou`, in percent, is there where the checkpoint is chosen on images held out of the labelled ones, `predictors`
    where a method's other predictors are scored, by name; `predictor` names its own then.
    """

    step: int
    holdout_miou: NotRequired[float]
    predictor: NotRequired[str]
    predictors: NotRequired[dict[str, ScoreRecord]]


@dataclass(frozen=True)
class Score:
    """The score of one evaluation.

    Attributes:
        miou: mean IoU in percent over the classes that occur in ground truth or prediction and aren't ignored.
        pixel_accuracy: percent of the valid pixels.
        iou: per class, in percent; None for a class that occurs in neither.
        images: the matrices per image whose sum was scored; None where they weren't kept.
    """

    miou: float
    pixel_accuracy: float
    iou: list[float | None]
    images: ImageCounts | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> ScoreRecord:
        """Return the score as JSON types, without the matrices."""
        return {"miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "iou": self.iou}


def score(confusion: Tensor, ignored: Collection[int] = ()) -> Score:
    """Compute the score of a confusion matrix (K, K) int64, in float64; classes that are `ignored` are in no mean.

    Raises:
        ValueError: if there is no valid pixel, or none of a class that counts, since no score is right then.
    """
    matrix = confusion.cpu().double()
    total = matrix.sum()
    if total == 0:
        raise ValueError("no pixel of the evaluation split has a class, so there is no mIoU")
    hit = matrix.diagonal()
    union = matrix.sum(0) + matrix.sum(1) - hit
    iou = [100 * float(h / u) if u > 0 else None for h, u in zip(hit, union, strict=True)]
    miou = mean_over_classes(iou, ignored)
    if miou is None:
        raise ValueError("no pixel of the evaluation split has a class that isn't ignored, so there is no mIoU")
    return Score(miou, 100 * float(hit.sum() / total), iou)
