"""Colour jitter against torchvision's functions, image by image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from bench import kernels
from bench.seeds import rng
from datasets.augmentation.colour import OPERATIONS
from datasets.augmentation.photometric import Draws, photometric

CPU = torch.device("cpu")
KINDS = ("cpu", "cuda")
TORCHVISION: tuple[Callable[[Tensor, float], Tensor], ...] = (
    TF.adjust_brightness,
    TF.adjust_contrast,
    TF.adjust_saturation,
    TF.adjust_hue,
)


def images(count: int, seed: int = 0) -> Tensor:
    """Random colours, and every colour that is special to HSV: greys, pure and mixed primaries, black and white."""
    image = torch.rand(count, 3, 16, 20, generator=torch.Generator().manual_seed(seed))
    levels = torch.tensor([0.0, 0.25, 1.0])
    image[:, :, 0, :20] = torch.cartesian_prod(levels, levels, levels)[:20].T
    image[:, :, 1, :7] = torch.cartesian_prod(levels, levels, levels)[20:].T
    image[:, :, 2] = image[:, :1, 2]
    return image


def jitter(
    kind: str,
    image: Tensor,
    jittered: NDArray[np.bool_],
    factors: NDArray[np.float64],
    order: NDArray[np.int64],
) -> Tensor:
    """Return the jittered copy of a batch, nothing blurred or flipped."""
    nothing = np.zeros(len(image), np.bool_)
    draws = Draws(jittered, factors, order, nothing, nothing, np.ones(len(image)), 3, nothing)
    with kernels.assuming(kind):
        return torch.cat([*photometric(draws, (16, 20), CPU).images(image)])


@pytest.mark.parametrize("factor", [-0.5, -0.25, -0.01, 0.0, 0.1, 0.25, 0.5])
def test_hue_is_torchvisions(factor: float) -> None:
    image = images(2)
    expected = TF.adjust_hue(image, factor)
    found = OPERATIONS[3](image.clone(), torch.full((2, 1, 1, 1), factor))
    torch.testing.assert_close(found, expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize("operation", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.0, 0.75, 1.0, 1.25, 3.0])
def test_brightness_contrast_and_saturation_are_torchvisions(operation: int, factor: float) -> None:
    image = images(2)
    expected = TORCHVISION[operation](image, factor)
    found = OPERATIONS[operation](image.clone(), torch.full((2, 1, 1, 1), factor))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_its_own_order_and_factors_and_the_others_stay_as_they_are(kind: str) -> None:
    orders = np.array([*permutations(range(4))], np.int64)
    batch = len(orders) + 2
    order = np.concatenate([orders, orders[:2]])
    draws = rng(0, "factors").random((batch, 4))
    factors = np.column_stack([0.75 + 0.5 * draws[:, :3], draws[:, 3] / 2 - 0.25])
    jittered = np.arange(batch) % 5 != 0
    image = images(batch)
    found = jitter(kind, image, jittered, factors, order)
    for i in range(batch):
        expected = image[i]
        for operation in order[i] if jittered[i] else ():
            expected = TORCHVISION[operation](expected, float(factors[i, operation]))
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_neutral_factors_change_nothing(kind: str) -> None:
    image = images(3)
    factors = np.tile([1.0, 1.0, 1.0, 0.0], (3, 1))
    found = jitter(kind, image, np.ones(3, np.bool_), factors, np.tile(np.arange(4), (3, 1)))
    assert torch.equal(found, image)
