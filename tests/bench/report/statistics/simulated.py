"""Runs drawn at random with a known truth, on which intervals are tried: see ``tests/benchmarks/coverage.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIXELS = 400  # per image
HARD = 0.8  # standard deviation of how hard images are, of the logit of the share predicted right
TASTE = 0.3  # of what on an image suits one method more than another, in every seed
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """Test images: pixels per class, how hard each is, and how much each suits methods A and B; all (N, K)."""

    label: NDArray[np.int64]
    hard: Floats
    suits: tuple[Floats, Floats]


def draw_images(draw: np.random.Generator, images: int, classes: int) -> Images:
    """Return N images of K classes."""
    label = draw.multinomial(PIXELS, draw.dirichlet(np.ones(classes), size=images))
    effects = [draw.normal(0, sd, (images, classes)) for sd in (HARD, TASTE, TASTE)]
    return Images(label, effects[0], (effects[1], effects[2]))


def draw_run(draw: np.random.Generator, images: Images, method: int, accuracy: Floats) -> NDArray[np.int64]:
    """Return the confusion matrices (N, K, K) of a run.

    Args:
        draw: generator.
        images: what it is scored on.
        method: 0 for A, 1 for B.
        accuracy: (K,), share of each class's pixels predicted right on an image that is neither hard nor easy.
    """
    classes = len(accuracy)
    logit = np.log(accuracy / (1 - accuracy)) + images.hard + images.suits[method]
    hit = draw.binomial(images.label, 1 / (1 + np.exp(-logit)))
    wrong = draw.multinomial(images.label - hit, np.full(classes - 1, 1 / (classes - 1)))
    found = np.zeros((len(hit), classes, classes), np.int64)
    for k in range(classes):
        found[:, k, k] = hit[:, k]
        found[:, k, [other for other in range(classes) if other != k]] = wrong[:, k]
    return found
