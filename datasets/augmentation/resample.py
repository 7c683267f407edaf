"""Random scale and crop: the same window on the host (PIL, one image) and on the device (torch, a batch).

A window is a crop of a scaled image, padded on the right and at the bottom where the scaled image is smaller. On the
device every separable operation (scaling, reflection, crop, blur) is a list of *taps*: an output row is a weighted sum of
a few input rows. ``embedding_bag`` reads those rows in place, so the cost grows with the taps, not with the image's
side as in a product with (out, in) matrices: 0.5 ms against 4 ms for a 321x321 image on one core.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bench.arrays import UInt8
from bench.transfer import to_device

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class Window:
    """A crop of a scaled image: the size it is scaled to, and the crop's first row and column therein."""

    scaled: Size
    start: Size


def draw_window(rng: np.random.Generator, size: Size, crop: Size, scale: tuple[float, float]) -> Window:
    """Draw scale and crop: three uniform numbers, whatever the range of the scale.

    Each side becomes ``int(side * scale)``, as in the ReCo authors' ``build_data.transform``. The crop starts anywhere
    inside the scaled image, and at 0 along an axis that has to be padded.
    """
    draws = rng.random(3)
    factor = scale[0] + (scale[1] - scale[0]) * float(draws[0])
    scaled = max(1, int(size[0] * factor)), max(1, int(size[1] * factor))
    start = [int(u * (max(n - c, 0) + 1)) for u, n, c in zip(draws[1:], scaled, crop, strict=True)]
    return Window(scaled, (start[0], start[1]))


def reflect(position: Ints, size: Ints | int) -> Ints:
    """Fold positions beyond [0, size) back by reflection without repeating the border, as often as it takes."""
    period: Ints = np.maximum(2 * (np.asarray(size) - 1), 1)
    folded: Ints = np.mod(position, period)
    back: Ints = np.minimum(folded, period - folded)
    return back


def nearest(row: Ints, size: int, scaled: Ints | int) -> Ints:
    """Return the input row that holds the centre of `row` of the scaled image: PIL's NEAREST without its rounding."""
    index: Ints = (2 * row + 1) * size // (2 * np.asarray(scaled))
    return index


def nearest_as_pillow(row: Ints, size: int, scaled: int) -> Ints:
    """Return the input row that PIL's NEAREST takes, which adds up its steps in float64.

    Where a centre lies on the edge between two input rows, the sum's rounding decides between them.
    """
    step = size / scaled
    centres = np.cumsum([step * 0.5, *[step] * (scaled - 1)])
    index: Ints = centres.astype(np.int64)[row]
    return index


# Host: one image -------------------------------------------------------------------------------------------------


def inside(window: Window, crop: Size) -> Size:
    """Return the size of the part of the crop that lies inside the scaled image."""
    return min(crop[0], window.scaled[0]), min(crop[1], window.scaled[1])


def _resize_part(image: UInt8, window: Window, part: Size) -> UInt8:
    """Return the part of the scaled image that the window shows, resampling no other pixel."""
    boxes = []
    for size, scaled, start, length in zip(image.shape, window.scaled, window.start, part, strict=False):
        ratio = size / scaled
        first, last = start * ratio, min((start + length) * ratio, size)
        margin = math.ceil(max(ratio, 1.0)) + 1  # the reach of the bilinear kernel and a pixel for rounding
        low = max(0, int(first) - margin)
        boxes.append((low, min(size, math.ceil(last) + margin), first - low, last - low))
    (top, bottom, y0, y1), (left, right, x0, x1) = boxes
    source = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    return np.asarray(source.resize((part[1], part[0]), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)))


def _resize_whole(image: UInt8, size: Size) -> UInt8:
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BILINEAR))


def crop_image(
    image: UInt8, window: Window, crop: Size, whole: bool = False, border: Literal["reflect", "constant"] = "reflect"
) -> UInt8:
    """Scale (bilinear, antialiased), pad and crop an image.

    Args:
        image: (H, W, 3).
        window: drawn for this image's size.
        crop: (h, w).
        whole: resize the whole image and then cut, as the ReCo authors do. Resampling only what the crop shows is the
            same up to rounding: 0.3 % of values differ, by two levels at most.
        border: pad by reflection, or with black (``constant``).

    Returns:
        (h, w, 3), a copy.
    """
    part = inside(window, crop)
    if window.scaled != image.shape[:2] and not whole:
        shown = _resize_part(image, window, part)
    else:
        scaled = image if window.scaled == image.shape[:2] else _resize_whole(image, window.scaled)
        (top, left), (height, width) = window.start, part
        shown = scaled[top : top + height, left : left + width]
    if part == crop:
        return shown.copy()
    return np.pad(shown, ((0, crop[0] - part[0]), (0, crop[1] - part[1]), (0, 0)), mode=border)


def crop_mask(mask: UInt8, window: Window, crop: Size, border: int, as_pillow: bool = False) -> UInt8:
    """Scale (nearest) and crop a mask (H, W) to (h, w); `border` where the crop reaches beyond the scaled mask.

    `as_pillow` takes the pixels that :func:`nearest_as_pillow` says.
    """
    part = inside(window, crop)
    rows, columns = (
        (nearest_as_pillow if as_pillow else nearest)(np.arange(start, start + length), size, scaled)
        for size, scaled, start, length in zip(mask.shape, window.scaled, window.start, part, strict=True)
    )
    out = np.full(crop, border, np.uint8)
    out[: part[0], : part[1]] = mask[rows][:, columns]
    return out


# Device: a batch -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taps:
    """Which of `size` input rows make each output row: index (B, out, K) int64 and weight (B, out, K) float32."""

    index: Tensor
    weight: Tensor
    size: int

    def of(self, images: slice) -> Taps:
        """Return the taps of some images."""
        return Taps(self.index[images], self.weight[images], self.size)

    def without(self, dropped: Tensor) -> Taps:
        """Return the taps with weight 0 for the output rows where `dropped` (B, out) is True."""
        return Taps(self.index, self.weight.masked_fill(dropped[..., None], 0.0), self.size)


def bilinear_taps(row: Ints, size: int, scaled: Ints, device: torch.device) -> Taps:
    """Return the taps of an antialiased bilinear resize from `size` to `scaled` rows, for the given scaled rows.

    The triangle filter of PIL and of ``interpolate(antialias=True, align_corners=False)``: support 1 input pixel, or
    `size / scaled` where that is larger, cut off at the border and normalised.

    Args:
        row: rows of the scaled image, (B, out), each in [0, scaled).
        size: rows of the input.
        scaled: rows of the scaled image, (B,).
        device: where the taps are used.
    """
    ratio = (size / scaled)[:, None, None]
    support = np.maximum(ratio, 1.0)
    centre = (row[..., None] + 0.5) * ratio
    taps = math.ceil(2 * float(support.max()))
    index = np.floor(centre - support + 0.5).astype(np.int64) + np.arange(taps)
    weight = np.maximum(1.0 - np.abs(index + 0.5 - centre) / support, 0.0) * ((index >= 0) & (index < size))
    weight = (weight / weight.sum(-1, keepdims=True)).astype(np.float32)
    return Taps(to_device(index.clip(0, size - 1), device), to_device(weight, device), size)


def gaussian_taps(sigma: Floats, size: int, radius: int, device: torch.device) -> Taps:
    """Return the taps of Gaussians of standard deviation `sigma` (B,), cut off at `radius`, border reflected."""
    offset = np.arange(-radius, radius + 1)
    index = reflect(np.arange(size)[:, None] + offset, size)
    weight = np.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    weight = (weight / weight.sum(-1, keepdims=True)).astype(np.float32)
    shape = (len(sigma), *index.shape)
    return Taps(to_device(index, device).expand(shape), to_device(weight, device)[:, None].expand(shape), size)


def _mix_rows(table: Tensor, taps: Taps) -> Tensor:
    """Mix the rows of matrices: (n, m * in, width) to (n, m * out, width), the same taps for each of the m blocks."""
    n, height, width = table.shape
    base = torch.arange(0, n * height, taps.size, device=table.device).view(n, -1, 1, 1)
    index = taps.index[:, None] + base
    weight = taps.weight[:, None].expand(index.shape).reshape(-1, index.shape[-1])
    mixed = F.embedding_bag(index.flatten(0, 2), table.flatten(0, 1), mode="sum", per_sample_weights=weight)
    return mixed.view(n, -1, width)


def _transpose(matrices: Tensor) -> Tensor:
    """(n, p, q) to (n, q, p), contiguous; torch's fast blocked copy is for one matrix at a time."""
    if len(matrices) == 1:
        return matrices[0].t().contiguous()[None]
    return matrices.transpose(1, 2).contiguous()


def mix(image: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Apply taps along both axes: float32 (B, C, H, W) to (B, C, out rows, out columns)."""
    batch, channels = image.shape[:2]
    halfway = _mix_rows(image.flatten(1, 2), rows)
    mixed = _transpose(_mix_rows(_transpose(halfway), columns))
    return mixed.view(batch, channels, -1, mixed.shape[2])


class Resample:
    """Scale, pad and crop of a batch that keeps its size; a pure function of the windows.

    Its functions take some consecutive images of the batch, `part`, so that the caller decides how many go together.

    Args:
        windows: one per image, drawn for `size` and crop `size`.
        size: (H, W) of the batch.
        device: where it is applied.
        as_pillow: nearest pixels are those that :func:`nearest_as_pillow` says.
    """

    def __init__(self, windows: Sequence[Window], size: Size, device: torch.device, as_pillow: bool = False) -> None:
        scaled, start = (np.array([getattr(w, name) for w in windows], np.int64) for name in ("scaled", "start"))
        self.identity = bool((scaled == size).all())
        self._padded = [w.scaled[0] < size[0] or w.scaled[1] < size[1] for w in windows]
        self._taps: list[Taps] = []
        self._nearest: list[Tensor] = []
        self._outside: list[Tensor] = []
        for axis in range(0 if self.identity else 2):
            position, length = start[:, axis, None] + np.arange(size[axis]), scaled[:, axis, None]
            row = reflect(position, length)
            self._taps.append(bilinear_taps(row, size[axis], scaled[:, axis], device))
            picked = nearest(row, size[axis], length)
            if as_pillow:
                each = zip(row, scaled[:, axis], strict=True)
                picked = np.stack([nearest_as_pillow(rows, size[axis], int(to)) for rows, to in each])
            self._nearest.append(to_device(picked, device))
            self._outside.append(to_device(position >= length, device))

    def image(self, image: Tensor, part: slice) -> Tensor:
        """Resample images (n, C, H, W) float32, bilinear and antialiased, with a reflected border."""
        return image if self.identity else mix(image, *(taps.of(part) for taps in self._taps))

    def maps(self, maps: Tensor, part: slice) -> Tensor:
        """Resample real-valued maps (n, C, H, W) float32 like images, but with 0 where the window is padding."""
        if self.identity:
            return maps
        both = zip(self._taps, self._outside, strict=True)
        return mix(maps, *(taps.of(part).without(outside[part]) for taps, outside in both))

    def pick(self, maps: Sequence[Tensor], borders: Sequence[float], part: slice) -> list[Tensor]:
        """Resample maps (n, H, W) of any type by taking the nearest pixel; each has its own border value."""
        if self.identity:
            return list(maps)
        rows, columns = (x[part] for x in self._nearest)
        shape = rows.shape[0], rows.shape[1], columns.shape[1]
        index = (rows[:, :, None] * columns.shape[1] + columns[:, None, :]).flatten(1)
        picked = [x.flatten(1).gather(1, index).view(shape) for x in maps]
        if any(self._padded[part]):
            outside = self._outside[0][part, :, None] | self._outside[1][part, None, :]
            picked = [x.masked_fill_(outside, border) for x, border in zip(picked, borders, strict=True)]
        return picked
