"""`arithmetic: pil` against the ReCo authors' sequence of torchvision's functions on PIL images, written out here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import functional as TF

from bench.arrays import UInt8
from bench.seeds import rng
from datasets.augmentation.pillow import in_8_bits
from datasets.augmentation.reco import Augmentation, AugmentationConfig
from datasets.augmentation.resample import Window, draw_window, nearest, nearest_as_pillow

CROP = (48, 56)
ADJUST: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    TF.adjust_brightness,
    TF.adjust_contrast,
    TF.adjust_saturation,
    TF.adjust_hue,
)


def augmentation(**options: Any) -> Augmentation:
    return Augmentation(AugmentationConfig(**{"crop_size": CROP, "arithmetic": "pil", **options}))


def generators(count: int) -> list[np.random.Generator]:
    return [rng(5, "pil", slot) for slot in range(count)]


def picture(size: tuple[int, int], seed: int) -> tuple[UInt8, UInt8]:
    """Noise on a gradient in every colour, and a mask whose neighbours differ."""
    draw = rng(seed, "picture")
    ramp = np.linspace(0, 200, size[0])[:, None, None] + np.linspace(0, 30, size[1])[:, None]
    image = (ramp * draw.random(3) + draw.integers(0, 50, (*size, 3))).astype(np.uint8)
    return image, draw.integers(0, 20, size).astype(np.uint8)


def geometry(image: Image.Image, label: Image.Image, window: Window) -> tuple[Image.Image, Image.Image]:
    """Resize the whole image, pad and crop."""
    image = TF.resize(image, list(window.scaled), TF.InterpolationMode.BILINEAR)
    label = TF.resize(label, list(window.scaled), TF.InterpolationMode.NEAREST)
    padding = [0, 0, max(CROP[1] - window.scaled[1], 0), max(CROP[0] - window.scaled[0], 0)]
    image = TF.pad(image, padding, padding_mode="reflect")
    label = TF.pad(label, padding, fill=255)
    return TF.crop(image, *window.start, *CROP), TF.crop(label, *window.start, *CROP)


def photometry(image: Image.Image, generator: np.random.Generator, config: AugmentationConfig) -> Image.Image:
    """Jitter, blur and flip, from the documented order of the draws."""
    u = generator.random(12)
    ranges = (config.brightness, config.contrast, config.saturation, config.hue)
    if u[0] < config.jitter_p:
        for i in np.argsort(u[5:9]):
            image = ADJUST[i](image, ranges[i][0] + (ranges[i][1] - ranges[i][0]) * u[1 + i])
    if u[9] < config.blur_p:
        low, high = config.blur_sigma
        image = image.filter(ImageFilter.GaussianBlur(float(low + (high - low) * u[10])))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if u[11] < config.flip_p else image


def to_pil_and_back(image: Tensor) -> Image.Image:
    """The authors' images between two calls: normalised, denormalised, cut down to 8 bits."""
    x = TF.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    x = TF.normalize(x, [0.0, 0.0, 0.0], [1 / 0.229, 1 / 0.224, 1 / 0.225])
    back: Image.Image = TF.to_pil_image(TF.normalize(x, [-0.485, -0.456, -0.406], [1.0, 1.0, 1.0]))
    return back


def batch(count: int) -> tuple[Tensor, Tensor]:
    images, masks = zip(*(picture(CROP, i) for i in range(count)), strict=True)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(masks)).long()


def test_labelled_views_are_the_authors_bit_for_bit() -> None:
    augment, count = augmentation(scale=(0.5, 1.5)), 16
    for i in range(count):
        image, mask = picture((70 - i, 90), i)
        view, label = augment.labelled_view(image, mask, rng(i, "view"))
        window = draw_window(rng(i, "view"), image.shape[:2], CROP, (0.5, 1.5))
        pil = geometry(Image.fromarray(image), Image.fromarray(mask), window)
        assert np.array_equal(view, np.asarray(pil[0])) and np.array_equal(label, np.asarray(pil[1]))
        tensor = torch.from_numpy(view).permute(2, 0, 1)[None]
        found, _ = augment.finish(tensor, torch.from_numpy(label)[None], [rng(i, "finish")])
        expected = TF.to_tensor(photometry(pil[0], rng(i, "finish"), augment.config))
        assert torch.equal(found[0], expected)


@pytest.mark.parametrize("scale", [(0.5, 1.5), (1.0, 1.0)])
def test_strong_views_are_the_authors_bit_for_bit(scale: tuple[float, float]) -> None:
    augment, count = augmentation(scale=scale), 12
    weak, label = batch(count)
    strong = augment.strong(generators(count), "cpu")
    image, moved = strong.geometric(augment.to_float(weak), (label, 255))
    found, _ = strong.photometric(image, moved)
    for i, generator in enumerate(generators(count)):
        window = draw_window(generator, CROP, CROP, scale)
        mask = Image.fromarray(label[i].numpy().astype(np.uint8))
        first, mask = geometry(to_pil_and_back(TF.to_tensor(weak[i].permute(1, 2, 0).numpy())), mask, window)
        assert torch.equal(image[i], TF.to_tensor(first))
        assert np.array_equal(moved[i].numpy(), np.asarray(mask))
        second = photometry(to_pil_and_back(TF.to_tensor(first)), generator, augment.config)
        assert torch.equal(found[i], TF.to_tensor(second))


def test_the_two_arithmetics_draw_alike_and_differ_by_rounding() -> None:
    options: dict[str, Any] = {"blur_p": 0.0, "scale": (1, 1)}
    weak, label = batch(8)
    inputs = augmentation().to_float(weak), label
    both = [
        augmentation(arithmetic=a, **options).strong(generators(8), "cpu").photometric(*inputs)
        for a in ("pil", "exact")
    ]
    assert torch.equal(both[0][1], both[1][1])
    darker = (both[1][0] - both[0][0]) * 255
    assert 0.5 < float(darker.mean()) < 3


def test_the_loss_of_a_level_by_normalisation() -> None:
    levels = torch.arange(256.0).expand(1, 3, 1, 256)
    lost = levels - in_8_bits(levels / 255)
    assert lost.sum((0, 2, 3)).tolist() == [59, 38, 32] and set(lost.flatten().tolist()) == {0, 1}
    by_reciprocal = levels * (torch.tensor(1.0) / 255)  # as a GPU divides by a number
    assert torch.equal(in_8_bits(by_reciprocal), in_8_bits(levels / 255))
    fill = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)  # Cutout's, no whole level
    assert in_8_bits(fill).flatten().tolist() == [123, 116, 103]


def test_nearest_rows_are_pils_on_ties_too() -> None:
    ties = differing = 0
    for size in (97, 120, 375, 500):
        source = Image.fromarray(np.arange(size, dtype=np.int32)[None])
        for scaled in range(size // 2, size * 3 // 2, 7):
            row = np.arange(scaled)
            expected = np.asarray(source.resize((scaled, 1), Image.Resampling.NEAREST))[0]
            assert np.array_equal(nearest_as_pillow(row, size, scaled), expected)
            ties += int(((2 * row + 1) * size % (2 * scaled) == 0).sum())
            differing += int((nearest(row, size, scaled) != expected).sum())
    assert ties > differing > 0


def test_inputs_stay_and_memory_can_be_predicted() -> None:
    augment = augmentation()
    weak, label = batch(3)
    image = augment.to_float(weak)
    before = image.clone()
    strong = augment.strong(generators(3), "cpu")
    shown = strong.photometric(*strong.geometric(image, (label, 255)))
    assert torch.equal(image, before)
    with FakeTensorMode() as fake:
        strong = augment.strong(generators(3), "cpu")
        faked = strong.photometric(*strong.geometric(fake.from_tensor(image), (fake.from_tensor(label), 255)))
    assert [(x.shape, x.dtype, x.stride()) for x in faked] == [(x.shape, x.dtype, x.stride()) for x in shown]
