"""The recipe as a whole: options, alignment of image and label, purity, and the views against torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from bench import kernels, registry
from bench.arrays import UInt8
from bench.seeds import rng
from datasets.augmentation.reco import Augmentation, AugmentationConfig
from methods.base import StrongAugment

COLOURS = np.array([[230, 40, 40], [40, 220, 60], [40, 60, 230], [240, 230, 60], [20, 20, 20], [200, 200, 210]])
SIZE = (48, 56)


def augmentation(**options: Any) -> Augmentation:
    return Augmentation(AugmentationConfig(**{"crop_size": SIZE, **options}))


def scene(size: tuple[int, int] = (70, 90), seed: int = 0) -> tuple[UInt8, UInt8]:
    """Return flat rectangles whose label is a function of their colour: image (H, W, 3) and mask (H, W)."""
    draw, mask = rng(seed, "scene"), np.zeros(size, np.uint8)
    for _ in range(14):
        top, left = int(draw.integers(0, size[0] - 8)), int(draw.integers(0, size[1] - 8))
        mask[top : top + int(draw.integers(8, 30)), left : left + int(draw.integers(8, 30))] = draw.integers(0, 6)
    return COLOURS[mask].astype(np.uint8), mask


def read_off(image: Tensor) -> Tensor:
    """Return the label of the nearest colour, (B, H, W), for images (B, 3, H, W) in [0, 1]."""
    colours = torch.from_numpy(COLOURS).float() / 255
    return (image[:, None] - colours[None, :, :, None, None]).square().sum(2).argmin(1)


def interior(label: Tensor, reach: int = 3) -> Tensor:
    """Return where all labels within `reach` pixels are equal, (B, H, W) bool."""
    values = label.float()[:, None]
    high = F.max_pool2d(values, 2 * reach + 1, 1, reach)
    return (high == -F.max_pool2d(-values, 2 * reach + 1, 1, reach))[:, 0]


def generators(count: int, purpose: str = "strong") -> list[np.random.Generator]:
    return [rng(5, purpose, slot) for slot in range(count)]


def batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 3, *SIZE, generator=generator)
    label = torch.randint(0, 21, (count, *SIZE), generator=generator)
    return image, label, torch.rand(count, *SIZE, generator=generator)


def strong(view: StrongAugment, image: Tensor, label: Tensor, confidence: Tensor) -> tuple[Tensor, ...]:
    return view.photometric(*view.geometric(image, (label, 255), (confidence, 0.0)))


def test_it_is_registered_and_its_defaults_are_the_authors() -> None:
    assert registry.get("augmentation", "reco") is Augmentation
    config = AugmentationConfig(crop_size=321)
    assert config.crop_size == (321, 321)
    assert (config.scale, config.blur_sigma, config.hue) == ((0.5, 1.5), (0.15, 1.15), (-0.25, 0.25))
    assert AugmentationConfig(crop_size=(321, 321)).identity() == config.identity()


@pytest.mark.parametrize(
    "options",
    [
        {"crop_size": 0},
        {"crop_size": [1, 2, 3]},
        {"scale": [1.5, 0.5]},
        {"scale": [0.0, 1.0]},
        {"brightness": [-0.1, 1.0]},
        {"hue": [-0.6, 0.0]},
        {"hue": [0.2, -0.2]},
        {"blur_sigma": [0.0, 1.0]},
        {"jitter_p": 1.1},
        {"flip": 0.5},
        {"arithmetic": "8bit"},
        {"decide": "never"},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        augmentation(**options)


def test_labelled_views_stay_aligned() -> None:
    augment = augmentation(jitter_p=0.0, blur_p=0.7, scale=(0.4, 1.6))
    count = 12
    views = [augment.labelled_view(*scene(seed=i), rng(0, "view", i)) for i in range(count)]
    image, label = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
    image, label = augment.finish(image.permute(0, 3, 1, 2), label, generators(count))
    inside = interior(label) & (label != 255)
    assert inside.float().mean() > 0.2
    assert torch.equal(read_off(image)[inside], label[inside])
    assert (label == 255).any()


def test_strong_views_stay_aligned_in_image_label_confidence_and_maps() -> None:
    count = 12
    augment = augmentation(jitter_p=0.0, blur_p=0.7, scale=(0.4, 1.6))
    image, label = (
        torch.from_numpy(np.stack(part)) for part in zip(*(scene(SIZE, i) for i in range(count)), strict=True)
    )
    label = label.long()
    view = augment.strong(generators(count), "cpu")
    found, labels, confidence = strong(view, augment.to_float(image.permute(0, 3, 1, 2)), label, (label + 1) / 10)
    inside = interior(labels) & (labels != 255)
    assert inside.float().mean() > 0.2
    assert torch.equal(read_off(found)[inside], labels[inside])
    known = labels != 255
    torch.testing.assert_close(confidence, torch.where(known, (labels + 1) / 10, torch.zeros(())))
    maps = view.warp(F.one_hot(label, 6).permute(0, 3, 1, 2).float())
    torch.testing.assert_close(maps.sum(1), known.float(), atol=1e-5, rtol=0)
    assert torch.equal(maps.argmax(1)[inside], labels[inside])


def expected_photometric(image: Tensor, draws: NDArray[np.float64], config: AugmentationConfig) -> Tensor:
    """The photometric half of one image by torchvision, from the documented order of the draws."""
    adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    ranges = (config.brightness, config.contrast, config.saturation, config.hue)
    if draws[0] < config.jitter_p:
        for operation in np.argsort(draws[5:9]):
            low, high = ranges[operation]
            image = adjust[operation](image, low + (high - low) * draws[1 + operation])
    if draws[9] < config.blur_p:
        low, high = config.blur_sigma
        image = TF.gaussian_blur(image, [9, 9], [low + (high - low) * draws[10]] * 2)
    return TF.hflip(image) if draws[11] < config.flip_p else image


def test_finish_is_torchvisions_jitter_blur_and_flip() -> None:
    augment, count = augmentation(), 16
    image = torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    label = image[:, 0]
    found, labels = augment.finish(image, label, generators(count))
    assert found.dtype == torch.float32
    assert labels.dtype == torch.int64
    for i, generator in enumerate(generators(count)):
        draws = generator.random(12)
        expected = expected_photometric(image[i] / 255, draws, augment.config)
        torch.testing.assert_close(found[i], expected, atol=2e-5, rtol=0)
        assert torch.equal(labels[i], label[i].flip(-1).long() if draws[11] < 0.5 else label[i].long())


def test_a_batch_can_decide_once_for_all_its_images() -> None:
    augment, count = augmentation(decide="batch"), 5
    image = batch(count)[0]
    seen = set()
    for seed in range(8):
        found, _ = augment.finish(image, image[:, 0], [rng(seed, "once", slot) for slot in range(count)])
        draws = np.stack([rng(seed, "once", slot).random(12) for slot in range(count)])
        draws[:, 0], draws[:, 5:] = draws[0, 0], draws[0, 5:]  # all but the factors are those of the first slot
        seen.add((draws[0, 0] < 0.8, draws[0, 9] < 0.5, draws[0, 11] < 0.5))
        for i in range(count):
            torch.testing.assert_close(
                found[i], expected_photometric(image[i], draws[i], augment.config), atol=2e-5, rtol=0
            )
    assert len(seen) > 3


def test_labelled_images_can_stay_as_they_are() -> None:
    augment = augmentation(augment_labelled=False)
    image = torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, label = augment.finish(image, image[:, 0], generators(3))
    assert torch.equal(found, image / 255) and torch.equal(label, image[:, 0].long())
    inputs = batch(3)
    plain = augmentation().strong(generators(3), "cpu")
    strongs = strong(augment.strong(generators(3), "cpu"), *inputs), strong(plain, *inputs)
    assert all(torch.equal(a, b) for a, b in zip(*strongs, strict=True))


def test_new_options_leave_the_identity_of_a_recipe_alone() -> None:
    named = {"arithmetic": "exact", "decide": "image", "augment_labelled": True}
    assert AugmentationConfig.model_validate(named).identity() == AugmentationConfig().identity()
    for key, value in {"arithmetic": "pil", "decide": "batch", "augment_labelled": False}.items():
        assert AugmentationConfig.model_validate({key: value}).identity()[key] == value


def test_probabilities_are_respected() -> None:
    image, label, confidence = batch(3)
    plain = augmentation(jitter_p=0.0, blur_p=0.0, flip_p=0.0, scale=(1, 1))
    found = strong(plain.strong(generators(3), "cpu"), image, label, confidence)
    assert all(torch.equal(a, b) for a, b in zip(found, (image, label, confidence), strict=True))
    flipped = augmentation(jitter_p=0.0, blur_p=0.0, flip_p=1.0).finish(image, label, generators(3))
    assert torch.equal(flipped[0], image.flip(-1))
    assert torch.equal(flipped[1], label.flip(-1))


def test_a_slot_does_not_depend_on_the_other_slots() -> None:
    augment, count = augmentation(), 6
    inputs = batch(count)
    whole = strong(augment.strong(generators(count), "cpu"), *inputs)
    order = [4, 0, 3]
    view = augment.strong([generators(count)[i] for i in order], "cpu")
    some = strong(view, *(x[order] for x in inputs))
    for a, b in zip(whole, some, strict=True):
        torch.testing.assert_close(a[order], b, atol=1e-6, rtol=0)


def test_a_batch_at_once_as_on_a_gpu_gives_what_image_by_image_gives() -> None:
    augment, count = augmentation(), 12
    inputs = batch(count)
    maps = torch.rand(count, 5, *SIZE)
    one = augment.strong(generators(count), "cpu")
    with kernels.assuming("cuda"):
        together = augment.strong(generators(count), "cpu")
        all_at_once = *strong(together, *inputs), together.warp(maps)
    results = (*strong(one, *inputs), one.warp(maps)), all_at_once
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_views_leave_their_inputs_alone_and_can_be_repeated() -> None:
    augment = augmentation(scale=(1, 1))
    inputs = batch(4)
    before = [x.clone() for x in inputs]
    view = augment.strong(generators(4), "cpu")
    first, second = strong(view, *inputs), strong(view, *inputs)
    augment.finish(*inputs[:2], generators(4))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))
    moved = view.geometric(inputs[0], (inputs[1], 255), (inputs[2], 0.0))
    assert not {x.data_ptr() for x in inputs} & {x.data_ptr() for x in moved}


@pytest.mark.parametrize("scale", [(0.4, 1.6), (1, 1)])
def test_any_number_of_maps_moves_along_each_with_its_border(scale: tuple[float, float]) -> None:
    image, label, confidence = batch(4)
    view = augmentation(scale=scale).strong(generators(4), "cpu")
    known, first = torch.ones_like(label, dtype=torch.bool), (label, 255)
    moved = view.geometric(image, first, (confidence, -1.0), (known, False), first)
    assert [x.dtype for x in moved[1:]] == [torch.int64, torch.float32, torch.bool, torch.int64]
    assert torch.equal(moved[1] != 255, moved[3]) and torch.equal(moved[2] == -1, ~moved[3])
    assert torch.equal(moved[1], moved[4])
    (alone,) = view.geometric(image)
    assert torch.equal(alone, moved[0])
    shown = view.photometric(*moved)
    assert len(shown) == 5 and torch.equal(shown[1] != 255, shown[3])
    (alone,) = view.photometric(alone)
    assert torch.equal(alone, shown[0])


def test_autocast_and_inference_mode_change_nothing() -> None:
    augment = augmentation()
    inputs = batch(4)
    expected = strong(augment.strong(generators(4), "cpu"), *inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = strong(augment.strong(generators(4), "cpu"), *inputs)
    with torch.inference_mode():
        teacher = [x.clone() for x in inputs]
    outside = strong(augment.strong(generators(4), "cpu"), *teacher)
    assert not outside[1].is_inference()
    for a, b, c in zip(expected, found, outside, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
