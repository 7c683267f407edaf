"""The interval over seeds and images: mIoU of resamples counted out, scipy's BCa where it does the same, and limits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.report.statistics.images import Parts, interval
from bench.seeds import rng
from tests.bench.report.statistics.simulated import draw_images, draw_run


def matrices(seed: int, images: int = 12, accuracy: float = 0.7) -> NDArray[np.int64]:
    draw = rng(seed, "test")
    return draw_run(draw, draw_images(draw, images, 3), 0, np.full(3, accuracy))


def brute_miou(matrix: NDArray[np.int64]) -> float:
    """mIoU of one matrix, class by class."""
    scores = []
    for k in range(len(matrix)):
        union = matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]
        if union:
            scores.append(100 * matrix[k, k] / union)
    return float(np.mean(scores))


def test_a_sets_miou_is_that_of_its_summed_matrix() -> None:
    found = matrices(0)
    found[:, 2] = found[:, :, 2] = 0  # a class that never occurs
    weights = rng(1, "test").integers(0, 3, (5, len(found))).astype(float)
    expected = [brute_miou((found * row[:, None, None].astype(int)).sum(0)) for row in weights]
    assert Parts.of(found).miou(weights) == pytest.approx(expected)


def test_with_one_pair_it_is_scipys_over_images() -> None:
    one, other = Parts.of(matrices(0, 40, 0.8)), Parts.of(matrices(1, 40, 0.7))

    def difference(index: NDArray[np.int64]) -> float:
        weights = np.bincount(index.astype(int), minlength=40)[None].astype(float)
        return float(one.miou(weights)[0] - other.miou(weights)[0])

    expected = stats.bootstrap(
        (np.arange(40),), difference, method="BCa", n_resamples=4000, vectorized=False, rng=rng(2, "test")
    ).confidence_interval
    assert interval([(one, other)], resamples=8000) == pytest.approx(
        (expected.low, expected.high), abs=0.3
    )  # of a width of about 10


def test_identical_runs_differ_by_nothing_and_sides_turn_over() -> None:
    a, b = (Parts.of(matrices(seed, 15)) for seed in (0, 1))
    assert interval([(a, a), (b, b)]) == (0.0, 0.0)
    low, high = interval([(a, b), (b, a), (a, b)])
    turned = interval([(b, a), (a, b), (b, a)])
    assert turned == pytest.approx((-high, -low), abs=0.05)
    assert interval([(a, b)]) == interval([(a, b)])  # the draws have a fixed seed


def test_seeds_that_differ_widen_it() -> None:
    draw = rng(5, "test")
    images = draw_images(draw, 60, 3)
    other = Parts.of(draw_run(draw, images, 1, np.full(3, 0.7)))
    gains = (0.70, 0.80, 0.90)
    pairs = [(Parts.of(draw_run(draw, images, 0, np.full(3, gain))), other) for gain in gains]
    low, high = interval(pairs)
    inner = interval([pairs[1]])
    assert high - low > 1.5 * (inner[1] - inner[0])
    assert low < inner[0] < inner[1] < high
