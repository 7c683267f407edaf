"""Metrics of a segmentation, each from the confusion matrices of its images; in percent, None where nothing is to score.

Every metric needs only how many pixels of a class are labelled, predicted, and both: the margins of the matrices and their
diagonals. A class that occurs neither in the ground truth nor in the prediction is left out of every mean, and so are those
that a run's evaluation ignores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.class_mean import mean_over_classes
from bench.errors import BenchError, unknown
from bench.store.confusion import ImageCounts

Int64 = NDArray[np.int64]
Percent = float | None
SMALL, LARGE = 0.01, 0.10  # shares of an image's valid pixels that bound the sizes of a class in it


@dataclass(frozen=True, eq=False)
class Margins:
    """Pixels by image and class, each (N, K) int64.

    Attributes:
        hit: labelled and predicted as the class.
        label: labelled as the class.
        prediction: predicted as the class, among pixels that have a label.
        near: the same of pixels near boundaries; None where they weren't counted.
        ignored: indices of the classes that no mean over classes takes.
    """

    hit: Int64
    label: Int64
    prediction: Int64
    near: Margins | None = None
    ignored: frozenset[int] = frozenset()

    @classmethod
    def of(cls, images: ImageCounts, ignored: frozenset[int] = frozenset()) -> Margins:
        """Return the margins of matrices per image, from whose means some classes are left out."""
        k, image = images.classes, np.repeat(np.arange(len(images)), np.diff(images.indptr))
        label, prediction = np.divmod(images.cells.astype(np.int64), k)
        counts, same = images.counts.astype(np.int64), label == prediction

        def by(where: Any, of: Any) -> Int64:
            index = image[where] * k + of[where]
            # sums of whole numbers in float64 are exact below 2⁵³, which no image's pixels reach
            return np.bincount(index, counts[where], len(images) * k).astype(np.int64).reshape(len(images), k)

        near = None
        if images.near is not None:
            hit, labelled, predicted = images.near.astype(np.int64).transpose(1, 0, 2)
            near = cls(hit, labelled, predicted, ignored=ignored)
        return cls(by(same, label), by(slice(None), label), by(slice(None), prediction), near, ignored)

    def pooled(self) -> Margins:
        """Return the margins of all images together, (1, K)."""
        hit, label, prediction = (part.sum(0, keepdims=True) for part in (self.hit, self.label, self.prediction))
        return Margins(hit, label, prediction, ignored=self.ignored)

    def where(self, chosen: NDArray[np.bool_]) -> Margins:
        """Return the margins with zeros but for the chosen (N, K) images and classes."""
        hit, label, prediction = (part * chosen for part in (self.hit, self.label, self.prediction))
        return Margins(hit, label, prediction, ignored=self.ignored)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which classes means take, (K,)."""
        return ~np.isin(np.arange(self.hit.shape[1]), list(self.ignored))

    @property
    def union(self) -> Int64:
        """Pixels labelled or predicted as the class."""
        return self.label + self.prediction - self.hit


def _ratios(part: Int64, whole: Int64, known: NDArray[np.bool_] | None = None) -> list[list[Percent]]:
    """Return part / whole in percent (N, K); None where not `known`, which is where whole is 0 unless it is given."""
    known = whole > 0 if known is None else known
    values = 100 * np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return [[float(v) if k else None for v, k in zip(*row, strict=True)] for row in zip(values, known, strict=True)]


def _iou(m: Margins) -> list[Percent]:
    return _ratios(m.pooled().hit, m.pooled().union)[0]


def _dice(m: Margins) -> list[Percent]:
    p = m.pooled()
    return _ratios(2 * p.hit, p.label + p.prediction)[0]


def _recall(m: Margins) -> list[Percent]:
    return _ratios(m.pooled().hit, m.pooled().label)[0]


def _precision(m: Margins) -> list[Percent]:
    p = m.pooled()
    return _ratios(p.hit, p.prediction, p.union > 0)[0]


def _accuracy(m: Margins) -> Percent:
    total = m.label.sum()
    return 100 * float(m.hit.sum() / total) if total else None


def _weighted_iou(m: Margins) -> Percent:
    p = m.pooled()
    iou, weight = np.divide(p.hit, p.union, out=np.zeros(p.hit.shape), where=p.union > 0), p.label * m.kept
    return 100 * float((iou * weight).sum() / weight.sum()) if weight.any() else None


def _kappa(m: Margins) -> Percent:
    p = m.pooled()
    total = float(p.label.sum())
    if not total:
        return None
    observed, chance = p.hit.sum() / total, float((p.label / total * (p.prediction / total)).sum())
    return 100 * float((observed - chance) / (1 - chance)) if chance < 1 else None


def of_images(m: Margins) -> list[Percent]:
    """Return the mean IoU of each image over the classes that occur in it; None where there is none of them."""
    return [mean_over_classes(row, m.ignored) for row in _ratios(m.hit, m.union)]


def _image_miou(m: Margins) -> Percent:
    known = [mean for mean in of_images(m) if mean is not None]
    return sum(known) / len(known) if known else None


def _boundary_iou(m: Margins) -> list[Percent]:
    if m.near is None:
        raise BenchError(
            "its evaluation didn't count pixels near boundaries; set evaluation.boundary, or `evaluate RUN --boundary`"
        )
    return _iou(m.near)


def _sized(low: float, high: float) -> Callable[[Margins], list[Percent]]:
    """Return the IoU per class over those images where its label covers more than `low`, up to `high`, of the pixels."""

    def iou(m: Margins) -> list[Percent]:
        valid = m.label.sum(1, keepdims=True)
        return _iou(m.where((m.label > low * valid) & (m.label <= high * valid)))

    return iou


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        title: what tables call it.
        words: how it is defined.
        classes: its value per class, where it has one; the metric is their mean.
        whole: its value where it is no mean over classes.
        by_pixel: it counts pixels whatever their class, so that ignoring classes doesn't change it.
    """

    title: str
    words: str
    classes: Callable[[Margins], list[Percent]] | None = None
    whole: Callable[[Margins], Percent] | None = None
    by_pixel: bool = False

    def value(self, margins: Margins) -> Percent:
        """Return the metric of all images."""
        if self.classes is not None:
            return mean_over_classes(self.classes(margins), margins.ignored)
        assert self.whole is not None
        return self.whole(margins)


_DICE = "2 · hit / (labelled + predicted), the same number as F1"
_OVER = "over the images where the class's ground truth covers"
_MISSED = "predictions of the class in other images don't count"

METRICS: dict[str, Metric] = {
    "miou": Metric("mIoU", "mean over classes of hit / (labelled or predicted), all images together", _iou),
    "macc": Metric("mAcc", "mean over the classes of the ground truth of hit / labelled (the mean recall)", _recall),
    "accuracy": Metric(
        "pixel accuracy", "share of the valid pixels that are right (overall accuracy)", None, _accuracy, by_pixel=True
    ),
    "fwiou": Metric("FWIoU", "IoU per class weighted by its share of the ground truth", None, _weighted_iou),
    "dice": Metric("mean Dice", f"mean over classes of {_DICE}", _dice),
    "f1": Metric("mean F1", f"mean over classes of {_DICE.replace('F1', 'Dice')}", _dice),
    "precision": Metric(
        "mean precision",
        "mean over classes of hit / predicted; 0 for one of the ground truth that is never predicted",
        _precision,
    ),
    "recall": Metric("mean recall", "mean over the classes of the ground truth of hit / labelled (mAcc)", _recall),
    "kappa": Metric(
        "Cohen's kappa", "(agreement − chance) / (1 − chance), over pixels, times 100", None, _kappa, by_pixel=True
    ),
    "image-miou": Metric(
        "mIoU per image", "mean over images of the mean IoU over the classes that occur in the image", None, _image_miou
    ),
    "miou-small": Metric("mIoU, small", f"mIoU, {_OVER} up to 1 % of the valid pixels; {_MISSED}", _sized(0, SMALL)),
    "miou-medium": Metric("mIoU, medium", f"mIoU, {_OVER} over 1 % and up to 10 %; {_MISSED}", _sized(SMALL, LARGE)),
    "boundary-iou": Metric(
        "mean Boundary IoU",
        "mean over classes of the IoU of pixels within 2 % of the image's diagonal of the class's boundary "
        "(Cheng et al., CVPR 2021), all images together",
        _boundary_iou,
    ),
    "miou-large": Metric("mIoU, large", f"mIoU, {_OVER} over 10 %; {_MISSED}", _sized(LARGE, 1)),
}


def metric(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        BenchError: if there is none of that name; it lists all.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]
