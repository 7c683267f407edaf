"""The augmentation in Pillow's arithmetic against the authors' calls, written out with torchvision and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional as TF

from bench.arrays import UInt8
from bench.seeds import rng
from datasets.augmentation.draws import Draws
from datasets.augmentation.pil import through_bytes
from datasets.augmentation.reco import Augmentation, AugmentationConfig, _draw_photometric
from datasets.augmentation.resample import draw_window

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZE = (40, 48)


def generators(count: int = 6) -> list[np.random.Generator]:
    return [rng(5, "strong", slot) for slot in range(count)]


def images(count: int = 6) -> UInt8:
    """Return smooth pictures with noise, (B, H, W, 3)."""
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3)
    noise = rng(0, "pictures").integers(-40, 41, (count, *SIZE, 3))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def normalised_and_back(image: UInt8) -> Image.Image:
    """The authors' way from a picture to the network and back: ToTensor, Normalize, two Normalizes, ToPILImage."""
    tensor = TF.normalize(TF.to_tensor(Image.fromarray(image)), MEAN, STD)
    tensor = TF.normalize(tensor, [0.0, 0.0, 0.0], [1 / s for s in STD])
    tensor = TF.normalize(tensor, [-m for m in MEAN], [1.0, 1.0, 1.0])
    picture: Image.Image = transforms.ToPILImage()(tensor)
    return picture


def photometric(picture: Image.Image, draws: Draws, i: int) -> UInt8:
    """Jitter, blur and flip of one picture, in the drawn order."""
    steps = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue]
    if draws.jittered[i]:
        for step in draws.order[i]:
            picture = steps[step](picture, float(draws.factors[i, step]))
    if draws.blurred[i]:
        picture = picture.filter(ImageFilter.GaussianBlur(radius=float(draws.sigma[i])))
    return np.asarray(TF.hflip(picture) if draws.flipped[i] else picture)


def as_tensor(pictures: UInt8) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def test_levels_that_the_way_through_the_network_costs() -> None:
    """Counted of the authors' calls, and of ours: 59, 38 and 32 of 256 levels."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    theirs = np.asarray(normalised_and_back(levels))
    (ours,) = through_bytes(as_tensor(levels[None]).float() / 255)
    assert np.array_equal(ours, theirs)
    assert (levels.astype(int) - theirs).sum((0, 1)).tolist() == [59, 38, 32]
    assert np.array_equal(through_bytes(as_tensor(levels[None]))[0], levels)


def test_labelled_views_are_the_authors() -> None:
    config = AugmentationConfig(crop_size=SIZE, arithmetic="pil")
    pictures, label = images(), torch.zeros(6, *SIZE)
    view, _ = Augmentation(config).finish(as_tensor(pictures), label, generators())
    draws = _draw_photometric(config, generators())
    expected = np.stack([photometric(Image.fromarray(one), draws, i) for i, one in enumerate(pictures)])
    assert draws.jittered.any() and draws.blurred.any() and draws.flipped.any()
    assert torch.equal(view.mul(255).round().byte(), as_tensor(expected))


def test_strong_views_are_the_authors() -> None:
    """Two trips through the network's input: scale and crop, then jitter, blur and flip."""
    config = AugmentationConfig(crop_size=SIZE, arithmetic="pil", scale=(1.0, 1.5))
    pictures, label = images(), torch.arange(6 * SIZE[0] * SIZE[1]).view(6, *SIZE)
    view = Augmentation(config).strong(generators(), "cpu")
    moved, moved_label = view.geometric(as_tensor(pictures).float() / 255, (label, -1))
    exact = Augmentation(config.model_copy(update={"arithmetic": "exact"})).strong(generators(), "cpu")
    assert torch.equal(moved_label, exact.geometric(as_tensor(pictures).float() / 255, (label, -1))[1])
    rngs = generators()
    windows = [draw_window(one, SIZE, SIZE, config.scale) for one in rngs]
    draws = _draw_photometric(config, rngs)
    theirs = []
    for one, window in zip(pictures, windows, strict=True):
        scaled = normalised_and_back(one).resize(window.scaled[::-1], Image.Resampling.BILINEAR)
        (top, left), (height, width) = window.start, SIZE
        theirs.append(np.asarray(scaled)[top : top + height, left : left + width])
    assert torch.equal(moved.mul(255).round().byte(), as_tensor(np.stack(theirs)))
    (final,) = view.photometric(moved)
    again = [np.asarray(one) for one in moved.mul(255).round().byte().permute(0, 2, 3, 1).numpy()]
    expected = np.stack([photometric(normalised_and_back(one), draws, i) for i, one in enumerate(again)])
    assert torch.equal(final.mul(255).round().byte(), as_tensor(expected))


@pytest.mark.parametrize(("sigma", "pil", "exact"), [(0.15, 8, 0), (0.3, 29, 3), (0.5, 60, 59), (1.15, 94, 94)])
def test_share_of_noise_that_blur_removes(sigma: float, pil: int, exact: int) -> None:
    """In % of white noise's variance: Pillow's boxes blur where a true Gaussian hardly does."""
    noise = rng(0, "noise").integers(64, 192, (1, 96, 96, 3)).astype(np.uint8)
    for arithmetic, share in (("pil", pil), ("exact", exact)):
        config = AugmentationConfig.model_validate(
            {
                "crop_size": 96,
                "jitter_p": 0,
                "blur_p": 1,
                "flip_p": 0,
                "blur_sigma": [sigma, sigma],
                "arithmetic": arithmetic,
            }
        )
        view, _ = Augmentation(config).finish(as_tensor(noise), torch.zeros(1, 96, 96), generators(1))
        removed = 100 * (1 - view.mul(255).numpy().var() / noise.var())
        assert removed == pytest.approx(share, abs=3)


def test_it_identifies_a_cell_only_where_it_is_chosen() -> None:
    assert "arithmetic" not in AugmentationConfig().identity()
    assert AugmentationConfig(arithmetic="pil").identity()["arithmetic"] == "pil"


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.3])
def test_labelled_crops_are_the_authors(scale: float) -> None:
    """Resize the whole picture, pad by reflection at the right and the bottom, crop."""
    config = AugmentationConfig(crop_size=SIZE, arithmetic="pil", scale=(scale, scale))
    picture = images(1)[0]
    view, _ = Augmentation(config).labelled_view(picture, picture[..., 0], rng(3, "view"))
    window = draw_window(rng(3, "view"), SIZE, SIZE, config.scale)
    theirs = TF.resize(Image.fromarray(picture), list(window.scaled), TF.InterpolationMode.BILINEAR)
    right, bottom = max(SIZE[1] - window.scaled[1], 0), max(SIZE[0] - window.scaled[0], 0)
    theirs = TF.crop(TF.pad(theirs, [0, 0, right, bottom], padding_mode="reflect"), *window.start, *SIZE)
    assert np.array_equal(view, np.asarray(theirs))
