"""AugSeg's operations against torchvision's, and the plan of each image."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional as TF

from bench import registry
from bench.seeds import rng
from datasets.augmentation import intensity
from datasets.augmentation.augseg import AugSegAugmentation, AugSegConfig, IntensityView
from datasets.augmentation.unimatch import UniMatchAugmentation, UniMatchConfig
from tests.datasets.augmentation.test_reco import SIZE, scene


def image(seed: int = 0) -> Tensor:
    """Return a uint8 image (1, 3, H, W) with a smooth part, noise, and a channel of few levels."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(30, 220, (1, 3, *SIZE), dtype=torch.uint8, generator=generator)
    found[:, :, :20] = torch.arange(SIZE[1], dtype=torch.uint8).mul(3)
    found[:, 2] = found[:, 2] // 40 * 40
    return found


def as_float(pixels: Tensor) -> Tensor:
    return pixels.float() / 255


@pytest.mark.parametrize("seed", range(3))
def test_equalize_is_torchvisions_level_by_level(seed: int) -> None:
    pixels = image(seed)
    assert torch.equal(intensity.equalize(as_float(pixels), 0.0), as_float(TF.equalize(pixels)))
    flat = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(intensity.equalize(as_float(flat), 0.0), as_float(TF.equalize(flat)))


@pytest.mark.parametrize("bits", [4, 5.9, 8, 8.99])
def test_posterize_is_torchvisions_level_by_level(bits: float) -> None:
    assert torch.equal(intensity.posterize(as_float(image()), bits), as_float(TF.posterize(image(), int(bits))))


def test_the_other_operations_are_torchvisions() -> None:
    pixels = as_float(image())
    pairs: list[tuple[Any, Any, float]] = [
        (intensity.autocontrast, lambda x, _: TF.autocontrast(x), 0.0),
        (intensity.solarize, TF.solarize, 0.4),
        (intensity.sharpness, TF.adjust_sharpness, 0.3),
        (intensity.blur, lambda x, sigma: TF.gaussian_blur(x, [13, 13], [sigma, sigma]), 1.3),
        (intensity.POOL[4][0], TF.adjust_contrast, 0.3),
        (intensity.POOL[6][0], TF.adjust_saturation, 0.3),
        (intensity.POOL[7][0], TF.adjust_brightness, 0.3),
        (intensity.POOL[8][0], TF.adjust_hue, 0.3),
    ]
    for ours, theirs, strength in pairs:
        before = pixels.clone()
        torch.testing.assert_close(ours(pixels, strength), theirs(pixels, strength), atol=1e-5, rtol=0)
        assert torch.equal(pixels, before)


def view(count: int, most: int = 3) -> IntensityView:
    return IntensityView(most, [rng(5, "strong", slot) for slot in range(count)])


def test_each_image_goes_through_one_to_three_different_operations_within_their_ranges() -> None:
    plans = view(3000).plans
    lengths, drawn = Counter(map(len, plans)), Counter(operation for plan in plans for operation, _ in plan)
    assert lengths.keys() == {1, 2, 3}
    assert all(abs(lengths[n] / 3000 - 1 / 3) < 0.04 for n in lengths)
    assert all(len({operation for operation, _ in plan}) == len(plan) for plan in plans)
    assert all(abs(drawn[o] / sum(drawn.values()) - 1 / 11) < 0.015 for o in range(11))
    for number, (_, (low, high)) in enumerate(intensity.POOL):
        strengths = [strength for plan in plans for operation, strength in plan if operation == number]
        assert low <= min(strengths) and max(strengths) <= high
        assert abs(np.mean(strengths) - (low + high) / 2) <= 0.06 * max(high - low, 1e-9)


def test_the_strong_view_is_those_operations_in_order_and_moves_no_pixel() -> None:
    pixels = torch.rand(6, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    label = torch.randint(0, 5, (6, *SIZE))
    strong = view(6)
    moved, labels = strong.geometric(pixels, (label, 255))
    assert torch.equal(moved, pixels) and torch.equal(labels, label)
    found, labels = strong.photometric(pixels, label)
    assert torch.equal(labels, label)
    assert torch.equal(strong.warp(pixels), pixels)
    for i, plan in enumerate(strong.plans):
        expected = pixels[i : i + 1]
        for operation, strength in plan:
            expected = intensity.POOL[operation][0](expected, strength)
        assert torch.equal(found[i : i + 1], expected)
    assert found.min() >= 0 and found.max() <= 1
    assert torch.equal(view(6).photometric(pixels)[0], found)


def test_no_operation_waits_for_the_device() -> None:
    with FakeTensorMode() as fake:
        pixels = fake.from_tensor(torch.rand(1, 3, *SIZE))
        assert all(operation(pixels, high).shape == pixels.shape for operation, (_, high) in intensity.POOL)


def test_weak_views_are_unimatchs() -> None:
    assert registry.get("augmentation", "augseg") is AugSegAugmentation
    ours = AugSegAugmentation(AugSegConfig(crop_size=SIZE))
    other = UniMatchAugmentation(UniMatchConfig(crop_size=SIZE))
    for seed in range(4):
        pixels, mask = scene(seed=seed)
        for a, b in zip(
            ours.labelled_view(pixels, mask, rng(seed, "view")),
            other.labelled_view(pixels, mask, rng(seed, "view")),
            strict=True,
        ):
            assert np.array_equal(a, b)
    with pytest.raises(ValueError, match="most"):
        AugSegConfig(most=12)
