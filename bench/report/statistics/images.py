"""The interval of a difference of mIoU over seeds *and* test images: a bootstrap of both, corrected for bias and skew.

Seeds and images are crossed: every run is scored on the same images. So a resample draws seeds with replacement and, for all
of them, one set of images with replacement, and mIoU is computed anew from the summed matrices. What the interval covers is
another choice of seeds and of test images of the same kind; with few seeds it knows little of their spread.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.report.statistics.paired import LEVEL, Floats, Interval
from bench.seeds import rng

RESAMPLES = 2_000
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """What of a run's matrices mIoU is made of: per image and class, pixels hit, labelled and predicted, (N, K) each.

    K counts the classes that the mean takes.
    """

    hit: Floats
    label: Floats
    prediction: Floats

    @classmethod
    def of(cls, matrices: Counts, ignored: Collection[int] = ()) -> Parts:
        """Return the parts of matrices (N, K, K), rows labels, columns predictions, without the classes that are ignored."""
        hit, kept = np.diagonal(matrices, axis1=1, axis2=2), ~np.isin(np.arange(matrices.shape[1]), list(ignored))
        return cls(*(part[:, kept].astype(np.float64) for part in (hit, matrices.sum(2), matrices.sum(1))))

    def miou(self, weights: Floats) -> Floats:
        """Return the mIoU in % of weighted sets of images.

        Args:
            weights: (R, N), how often each image is in a set.

        Returns:
            (R,), each over the classes that occur in the set's labels or predictions.
        """
        hit = weights @ self.hit
        union = weights @ self.label + weights @ self.prediction - hit
        there = union > 0
        iou = np.divide(hit, union, out=np.zeros_like(hit), where=there)
        return np.asarray(100 * iou.sum(1) / np.maximum(there.sum(1), 1))


@dataclass(frozen=True)
class _Seeds:
    """The pairs, and per seed (rows) the share of each pair (columns) in its mean."""

    pairs: list[tuple[Parts, Parts]]
    shares: Floats

    @property
    def count(self) -> int:
        return len(self.shares)

    @property
    def images(self) -> int:
        return len(self.pairs[0][0].hit)

    def differences(self, weights: Floats) -> Floats:
        """Return the difference of mIoU per set of images and seed, (R, S)."""
        found = np.stack([one.miou(weights) - other.miou(weights) for one, other in self.pairs], axis=1)
        return np.asarray(found @ self.shares.T)


def _shares(members: Sequence[Sequence[int]], pairs: int) -> Floats:
    found = np.zeros((len(members), pairs))
    for seed, places in enumerate(members):
        found[seed, list(places)] = 1 / len(places)
    return found


def interval(
    pairs: list[tuple[Parts, Parts]], resamples: int = RESAMPLES, members: Sequence[Sequence[int]] | None = None
) -> Interval:
    """Return the 95 % interval (BCa) of the mean difference of mIoU over pairs of runs and over images.

    Source: Efron, "Better bootstrap confidence intervals", 1987. The acceleration comes from leaving out each seed and each
    image in turn, their influences side by side, as for two independent samples. The draws have a fixed seed.

    Args:
        pairs: at least one (A, B) of one seed, all on the same images; with a single one, images alone are drawn.
        resamples: their number R.
        members: per seed that is drawn the places of its pairs, which count with their mean; by default one each.
    """
    drawn = _Seeds(pairs, _shares([[i] for i in range(len(pairs))] if members is None else members, len(pairs)))
    seeds, images = drawn.count, drawn.images
    draw = rng(0, "bootstrap over seeds and images", seeds, images)
    over_images = draw.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)
    over_seeds = draw.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    found = np.sort((drawn.differences(over_images) * over_seeds).sum(1))
    whole = drawn.differences(np.ones((1, images)))[0]
    return _corrected(found, float(whole.mean()), _acceleration(drawn, whole))


def _acceleration(drawn: _Seeds, whole: Floats) -> float:
    seeds, images = drawn.count, drawn.images
    influence = [np.zeros(0)]
    if seeds > 1:
        influence.append((whole - whole.mean()) / seeds)
    if images > 1:
        left_out = drawn.differences(1.0 - np.eye(images)).mean(1)
        influence.append((images - 1) * (left_out.mean() - left_out) / images)
    u = np.concatenate(influence)
    spread = float((u**2).sum())
    return float((u**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def _corrected(found: Floats, value: float, acceleration: float) -> Interval:
    """Return the BCa interval from sorted bootstrap values."""
    from scipy.special import ndtr, ndtri

    if found[0] == found[-1]:
        return float(found[0]), float(found[-1])
    # Ties, as where all images agree, count half.
    below = float((np.sum(found < value) + np.sum(found <= value)) / 2 / len(found))
    bias = float(ndtri(min(max(below, 1 / (2 * len(found))), 1 - 1 / (2 * len(found)))))
    ends = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + float(ndtri(tail))
        ends.append(float(np.quantile(found, float(ndtr(bias + z / (1 - acceleration * z))))))
    return ends[0], ends[1]
