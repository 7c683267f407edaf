"""Scale, pad and crop against PIL, NumPy and torch's own resize; blur against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from bench.arrays import UInt8
from bench.seeds import rng
from datasets.augmentation.resample import (
    Resample,
    Window,
    crop_image,
    crop_mask,
    draw_window,
    gaussian_taps,
    mix,
    nearest,
    reflect,
)

CPU = torch.device("cpu")
ALL = slice(None)
SIZES = [(37, 53), (64, 48), (20, 90)]


def picture(size: tuple[int, int], seed: int = 0) -> UInt8:
    """Noise on a gradient: every pixel differs from its neighbours."""
    ramp = np.linspace(0, 160, size[0])[:, None, None] + np.linspace(0, 60, size[1])[None, :, None]
    return (ramp + rng(seed, "picture").integers(0, 36, (*size, 3))).astype(np.uint8)


def windows(size: tuple[int, int], crop: tuple[int, int], count: int = 12) -> list[Window]:
    return [draw_window(rng(i, "window"), size, crop, (0.3, 1.9)) for i in range(count)]


def padded(array: NDArray[np.generic], crop: tuple[int, int], **mode: object) -> NDArray[np.generic]:
    """Pad on the right and at the bottom to at least the crop's size, as the authors do."""
    missing = [(0, max(c - n, 0)) for c, n in zip(crop, array.shape, strict=False)]
    result: NDArray[np.generic] = np.pad(array, missing + [(0, 0)] * (array.ndim - 2), **mode)  # type: ignore[call-overload]
    return result


def cropped(array: NDArray[np.generic], window: Window, crop: tuple[int, int]) -> NDArray[np.generic]:
    (top, left), (height, width) = window.start, crop
    return array[top : top + height, left : left + width]


def unambiguous(size: tuple[int, int], window: Window, crop: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the nearest pixel does not depend on rounding: no centre on the edge between two input pixels."""
    rows, columns = (
        (2 * np.arange(scaled) + 1) * n % (2 * scaled) != 0 for n, scaled in zip(size, window.scaled, strict=True)
    )
    sure = cropped(padded(rows[:, None] & columns, crop, constant_values=True), window, crop)
    return sure.astype(np.bool_)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_reflect_is_numpys_reflection_however_far_it_goes(size: int) -> None:
    expected = np.pad(np.arange(size), (0, 40), mode="reflect")
    np.testing.assert_array_equal(reflect(np.arange(size + 40), size), expected)
    np.testing.assert_array_equal(
        reflect(-np.arange(30), size), np.pad(np.arange(size), (29, 0), mode="reflect")[::-1][size - 1 :]
    )


def test_nearest_is_pils_up_to_its_rounding_of_ties() -> None:
    size = 97
    source = Image.fromarray(np.arange(size, dtype=np.uint8)[None])
    for scaled in (1, 31, 48, 96, 97, 98, 140, 300):
        row = np.arange(scaled)
        tie = (2 * row + 1) * size % (2 * scaled) == 0
        expected = np.asarray(source.resize((scaled, 1), Image.Resampling.NEAREST))[0]
        np.testing.assert_array_equal(nearest(row, size, scaled)[~tie], expected[~tie])


def test_a_window_is_three_draws_and_uses_the_authors_rounding() -> None:
    generator, again = rng(3, "w"), rng(3, "w")
    window = draw_window(generator, (375, 500), (321, 321), (0.5, 1.5))
    scale, top, left = again.random(3)
    assert window.scaled == (int(375 * (0.5 + scale)), int(500 * (0.5 + scale)))
    assert window.start == (
        int(top * (max(window.scaled[0] - 321, 0) + 1)),
        int(left * (max(window.scaled[1] - 321, 0) + 1)),
    )
    assert generator.random() == again.random()


def test_crops_start_at_every_possible_place_equally_often() -> None:
    starts = [draw_window(rng(i, "s"), (12, 9), (8, 9), (1.0, 1.0)).start for i in range(2000)]
    rows, counts = np.unique([top for top, _ in starts], return_counts=True)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert np.abs(counts - 400).max() < 80  # more than 4 standard deviations
    assert {left for _, left in starts} == {0}


@pytest.mark.parametrize("size", SIZES)
def test_the_host_crop_is_pils_resize_of_the_whole_image_then_pad_and_crop(size: tuple[int, int]) -> None:
    image, crop = picture(size), (45, 41)
    for window in windows(size, crop):
        height, width = window.scaled
        whole = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        expected = cropped(padded(whole, crop, mode="reflect"), window, crop)
        found = crop_image(image, window, crop)
        assert found.shape == (*crop, 3)
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_the_host_mask_is_pils_nearest_then_pad_and_crop(size: tuple[int, int]) -> None:
    mask, crop = picture(size)[..., 0] % 21, (45, 41)
    for window in windows(size, crop):
        height, width = window.scaled
        whole = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        expected = cropped(padded(whole, crop, constant_values=255), window, crop)
        found = crop_mask(mask, window, crop, 255)
        sure = unambiguous(size, window, crop)
        assert sure.mean() > 0.3
        np.testing.assert_array_equal(found[sure], expected[sure])


def test_at_scale_one_the_crop_is_the_image_itself() -> None:
    image = picture((40, 50))
    window = Window((40, 50), (3, 7))
    np.testing.assert_array_equal(crop_image(image, window, (20, 30)), image[3:23, 7:37])
    np.testing.assert_array_equal(crop_mask(image[..., 0], window, (20, 30), 255), image[3:23, 7:37, 0])


def test_a_crop_is_a_copy_so_that_a_cached_image_is_safe() -> None:
    image = picture((40, 50))
    crop_image(image, Window((40, 50), (0, 0)), (40, 50))[:] = 0
    assert image.any()


def test_an_image_far_smaller_than_the_crop_is_reflected_again_and_again() -> None:
    image = picture((3, 5))
    found = crop_image(image, Window((3, 5), (0, 0)), (40, 41))
    np.testing.assert_array_equal(found, np.pad(image, ((0, 37), (0, 36), (0, 0)), mode="reflect"))


def reference(image: Tensor, window: Window, mode: str, value: float | None) -> Tensor:
    """Resize with torch, pad with NumPy, crop: one image or map (C, H, W)."""
    options = {"antialias": True, "align_corners": False} if mode == "bilinear" else {}
    whole = F.interpolate(image[None], size=window.scaled, mode=mode, **options)[0].permute(1, 2, 0).numpy()
    size = image.shape[1], image.shape[2]
    border: dict[str, object] = {"mode": "reflect"} if value is None else {"constant_values": value}
    return torch.from_numpy(cropped(padded(whole, size, **border), window, size).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("size", SIZES)
def test_the_device_resize_is_torchs_antialiased_one(size: tuple[int, int]) -> None:
    every = windows(size, size)
    image = torch.rand(len(every), 3, *size, generator=torch.Generator().manual_seed(0))
    resample = Resample(every, size, CPU)
    for i, (found, zeroed) in enumerate(zip(resample.image(image, ALL), resample.maps(image, ALL), strict=True)):
        torch.testing.assert_close(found, reference(image[i], every[i], "bilinear", None), atol=1e-5, rtol=0)
        torch.testing.assert_close(zeroed, reference(image[i], every[i], "bilinear", 0.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_the_device_picks_the_nearest_pixel_as_torch_does(size: tuple[int, int]) -> None:
    every = windows(size, size)
    label = torch.from_numpy(np.stack([picture(size, i)[..., 0] for i in range(len(every))])).long()
    confidence = label.float() / 255
    labels, confidences = Resample(every, size, CPU).pick((label, confidence), (255, 0.0), ALL)
    assert labels.dtype == torch.int64
    for i, window in enumerate(every):
        expected = reference(label[i : i + 1].float(), window, "nearest-exact", 255)[0]
        sure = torch.from_numpy(unambiguous(size, window, size))
        assert torch.equal(labels[i][sure], expected[sure].long())
        border = expected == 255
        assert (labels[i][border] == 255).all()
        assert (confidences[i][border] == 0).all()
        torch.testing.assert_close(confidences[i][~border], labels[i][~border] / 255)


def test_host_and_device_show_the_same_crop() -> None:
    size = (48, 60)
    image = picture(size)
    for window in windows(size, size, 6):
        device = Resample([window], size, CPU).image(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, ALL)[0]
        host = torch.from_numpy(crop_image(image, window, size)).permute(2, 0, 1)
        assert (device * 255 - host).abs().max() <= 1.5  # PIL rounds to 8 bits after each of its two passes


def test_windows_that_change_nothing_cost_nothing() -> None:
    size = (8, 9)
    image = torch.rand(2, 3, *size)
    resample = Resample([Window(size, (0, 0))] * 2, size, CPU)
    assert resample.identity
    assert resample.image(image, ALL) is image


def test_maps_keep_their_gradient() -> None:
    size = (12, 10)
    every = windows(size, size, 2)
    maps = torch.ones(2, 1, *size, requires_grad=True)
    rows = [reference(torch.eye(size[0] * size[1]).view(-1, *size), w, "bilinear", 0.0).sum((1, 2)) for w in every]
    (gradient,) = torch.autograd.grad(Resample(every, size, CPU).maps(maps, ALL).sum(), maps)
    torch.testing.assert_close(gradient.flatten(1), torch.stack(rows), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.15, 0.6, 1.15])
def test_the_blur_is_torchvisions_gaussian(sigma: float) -> None:
    image = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(1))
    radius = 4
    rows, columns = (gaussian_taps(np.array([sigma, 0.9]), n, radius, CPU) for n in (21, 34))
    found = mix(image, rows, columns)
    size = 2 * radius + 1
    torch.testing.assert_close(found[0], TF.gaussian_blur(image[0], [size, size], [sigma, sigma]), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], TF.gaussian_blur(image[1], [size, size], [0.9, 0.9]), atol=1e-6, rtol=0)
