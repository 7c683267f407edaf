"""Runs drawn at random with a known truth, on which intervals are tried: see ``tests/benchmarks/coverage.py``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.report.statistics.paired import Floats

PIXELS = 400  # per image
CONCENTRATION = 12.0  # of an image's accuracy around its class's: small values make images differ more


def draw_matrices(draw: np.random.Generator, images: int, accuracy: Floats) -> NDArray[np.int64]:
    """Return confusion matrices (N, K, K) of images whose classes' shares and accuracies vary from image to image.

    Args:
        draw: generator.
        images: N.
        accuracy: (K,), each class's mean share of pixels that are predicted right.
    """
    classes = len(accuracy)
    label = draw.multinomial(PIXELS, draw.dirichlet(np.ones(classes), size=images))
    right = draw.beta(CONCENTRATION * accuracy, CONCENTRATION * (1 - accuracy), size=(images, classes))
    hit = draw.binomial(label, right)
    wrong = draw.multinomial(label - hit, np.full(classes - 1, 1 / (classes - 1)))
    found = np.zeros((images, classes, classes), np.int64)
    for k in range(classes):
        others = [other for other in range(classes) if other != k]
        found[:, k, k] = hit[:, k]
        found[:, k, others] = wrong[:, k]
    return found
