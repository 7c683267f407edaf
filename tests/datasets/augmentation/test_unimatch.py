"""UniMatch's augmentation: what the views show, that they agree, and the strong view against torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from bench import kernels, registry
from bench.arrays import UInt8
from bench.errors import BenchError
from bench.seeds import rng
from datasets.augmentation.unimatch import UniMatchAugmentation, UniMatchConfig
from methods.base import Unlabelled
from tests.datasets.augmentation.test_reco import SIZE, interior, read_off, scene

CPU = torch.device("cpu")


def augmentation(**options: Any) -> UniMatchAugmentation:
    return UniMatchAugmentation(UniMatchConfig(**{"crop_size": SIZE, **options}))


def draws(seed: int) -> np.random.Generator:
    return rng(seed, "view")


def view_by_hand(image: UInt8, mask: UInt8, seed: int) -> tuple[UInt8, UInt8]:
    """Resize the whole image, pad on the right and below, cut, flip: from the documented order of the draws."""
    scale, top, left, flip = draws(seed).random(4)
    height, width = (int(side * (0.5 + 1.5 * scale)) for side in mask.shape)
    picture = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    rows, columns = (
        (2 * np.arange(n) + 1) * side // (2 * n) for n, side in zip((height, width), mask.shape, strict=True)
    )
    room = max(SIZE[0], height), max(SIZE[1], width)
    padded, void = np.zeros((*room, 3), np.uint8), np.full(room, 255, np.uint8)
    padded[:height, :width], void[:height, :width] = picture, mask[rows][:, columns]
    y, x = int(top * (room[0] - SIZE[0] + 1)), int(left * (room[1] - SIZE[1] + 1))
    cut = slice(y, y + SIZE[0]), slice(x, x + SIZE[1])
    step = -1 if flip < 0.5 else 1
    return padded[cut][:, ::step], void[cut][:, ::step]


@pytest.mark.parametrize("seed", range(12))
def test_views_are_scaled_padded_cut_and_flipped(seed: int) -> None:
    image, mask = scene(seed=seed)
    shown, label = augmentation().labelled_view(image, mask, draws(seed))
    expected, void = view_by_hand(image, mask, seed)
    assert np.array_equal(label, void)
    apart = np.abs(shown.astype(int) - expected)
    assert apart.max() <= 2  # only the part that is shown is resized, which is rounded otherwise here and there
    assert (apart > 0).mean() < 0.02


def test_the_views_of_one_generators_state_agree() -> None:
    augment, flipped, padded = augmentation(), 0, 0
    for seed in range(30):
        image, mask = scene(seed=seed)
        shown, label = augment.labelled_view(image, mask, draws(seed))
        assert np.array_equal(augment.weak_view(image, draws(seed)), shown)
        assert np.array_equal(augment.weak_mask(mask, draws(seed)), label)
        top, left, bottom, right = augment.weak_extent(mask.shape, draws(seed))
        inside = np.zeros(SIZE, bool)
        inside[top:bottom, left:right] = True
        assert np.array_equal(inside, label != 255)  # the scenes have no void of their own
        assert not shown[~inside].any()  # black
        flipped, padded = flipped + (left > 0), padded + (not inside.all())
    assert 0 < flipped < padded < 30


def test_where_the_image_is_reaches_the_method_as_a_mask() -> None:
    augment = augmentation()
    extents = np.array([augment.weak_extent((70, 90), draws(seed)) for seed in range(12)])
    masks = np.stack([augment.weak_mask(np.zeros((70, 90), np.uint8), draws(seed)) for seed in range(12)])
    unlabelled = Unlabelled(torch.zeros(12, 3, *SIZE), (), None, extents)
    assert torch.equal(unlabelled.inside(), torch.from_numpy(masks == 0))
    assert Unlabelled(torch.zeros(2, 3, *SIZE), ()).inside().all()


def test_labelled_images_keep_their_colours() -> None:
    image, mask = scene(SIZE)
    pixels, label = torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(mask)[None]
    found, labels = augmentation().finish(pixels, label, [draws(0)])
    assert torch.equal(found, pixels.float() / 255)
    assert labels.dtype == torch.int64 and torch.equal(labels, label.long())


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_strong_view_is_torchvisions_jitter_grey_and_blur(kind: str) -> None:
    count, config = 24, UniMatchConfig(crop_size=SIZE)
    image = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    label = torch.randint(0, 21, (count, *SIZE), generator=torch.Generator().manual_seed(1))
    generators = [rng(5, "strong", slot) for slot in range(count)]
    with kernels.assuming(kind):
        view = augmentation().strong(generators, CPU)
        weak, labels = view.geometric(image, (label, 255))
        assert torch.equal(weak, image)  # scale and crop are the weak view's
        found, labels = view.photometric(weak, labels)
    assert torch.equal(labels, label)
    grey = 0
    for i in range(count):
        values = rng(5, "strong", i).random(16)[3:]  # three for a window that is not moved
        expected = image[i]
        if values[0] < 0.8:
            adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
            ranges = (config.brightness, config.contrast, config.saturation, config.hue)
            for operation in np.argsort(values[5:9]):
                low, high = ranges[operation]
                expected = adjust[operation](expected, low + (high - low) * values[1 + operation])
        if values[12] < 0.2:
            expected, grey = TF.rgb_to_grayscale(expected, 3), grey + 1
        if values[9] < 0.5:
            expected = TF.gaussian_blur(expected, [13, 13], [0.1 + 1.9 * values[10]] * 2)
        torch.testing.assert_close(found[i], expected, atol=2e-5, rtol=0)
    assert 0 < grey < count


def test_colours_stay_with_their_labels() -> None:
    augment, count = augmentation(jitter_p=0.0, grey_p=0.0), 12
    views = [augment.labelled_view(*scene(seed=i), draws(i)) for i in range(count)]
    image, label = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
    found, labels = augment.finish(image.permute(0, 3, 1, 2), label, [draws(i) for i in range(count)])
    inside = interior(labels) & (labels != 255)
    assert inside.float().mean() > 0.2
    assert torch.equal(read_off(found)[inside], labels[inside])


def test_it_is_registered_and_refuses_what_can_not_be() -> None:
    assert registry.get("augmentation", "unimatch") is UniMatchAugmentation
    with pytest.raises(ValueError, match="grey_p"):
        augmentation(grey_p=1.2)
    with pytest.raises(BenchError, match="its mask 3x2"):
        augmentation().labelled_view(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 3), np.uint8), draws(0))
