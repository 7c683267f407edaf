"""Bilinear resizing of scores and features: what ``torch.nn.functional.interpolate`` computes, deterministic everywhere.

On CUDA, ``interpolate`` has no deterministic gradient; in strict mode torch makes it of four gathers, and its gradient of
four sorted scatters. Bilinear resizing is linear along each axis, so there it is two matrix products with fixed weights
instead, forward and backward. On a CPU ``interpolate`` is deterministic, and several times faster than the products.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bench import kernels
from bench.transfer import to_device

Size = tuple[int, int]


def bilinear(image: Tensor, size: Size | torch.Size, *, align_corners: bool) -> Tensor:
    """Return (B, C, h, w) resized to (B, C, *size), in the type and memory format of the input. No antialiasing.

    Args:
        image: floating point.
        size: (H, W).
        align_corners: as in ``torch.nn.functional.interpolate``.
    """
    height, width = size
    if kernels.kind(image.device) == "cpu":
        return F.interpolate(image, size=(height, width), mode="bilinear", align_corners=align_corners)
    if image.shape[2:] == (height, width):
        return image
    with torch.autocast(image.device.type, enabled=False):
        wide = image.to(torch.promote_types(image.dtype, torch.float32))
        rows, columns = (
            _on_device(old, new, align_corners, wide) for old, new in zip(image.shape[2:], (height, width), strict=True)
        )
        last = image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
        return (_channels_last if last else _contiguous)(wide, rows, columns).to(image.dtype)


def _contiguous(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return torch.matmul(rows, torch.matmul(image, columns.T))


def _channels_last(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resize (B, C, h, w) that is stored as (B, h, w, C), without copying it."""
    batch, channels, height, width = image.shape
    stored = image.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    tall = torch.matmul(rows, stored).view(batch * len(rows), width, channels)
    return torch.matmul(columns, tall).view(batch, len(rows), len(columns), channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=256)
def weights(old: int, new: int, align_corners: bool, precision: type[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the share of each of `old` rows (columns) in each of `new` ones, (new, old); every row sums to 1.

    Source: the definition of ``interpolate``'s coordinates: i (old - 1) / (new - 1) with aligned corners, else
    (i + 0.5) old / new - 0.5, at least 0. They are rounded to `precision` where torch rounds them to the image's type.
    """
    index = np.arange(new, dtype=precision)
    if align_corners:
        place = index * precision((old - 1) / (new - 1)) if new > 1 else np.zeros(1, precision)
    else:
        place = np.maximum((index + precision(0.5)) * precision(old / new) - precision(0.5), precision(0))
    low = np.minimum(place.astype(np.int64), old - 1)
    share = place - low.astype(precision)
    rows, found = np.arange(new), np.zeros((new, old), precision)
    found[rows, low] = 1 - share
    found[rows, np.minimum(low + 1, old - 1)] += share
    return found


_kept: dict[tuple[int, int, bool, torch.device, torch.dtype], Tensor] = {}


def _on_device(old: int, new: int, align_corners: bool, like: Tensor) -> Tensor:
    """Return the weights on the device of a tensor and of its type; they are copied there once."""
    key = old, new, align_corners, like.device, like.dtype
    known = None if type(like) is not Tensor else _kept.get(key)
    if known is not None:
        return known
    # A teacher may be the first to ask, under inference mode, whose tensors no gradient may pass.
    with torch.inference_mode(False):
        precision = np.float64 if like.dtype == torch.float64 else np.float32
        made = to_device(weights(old, new, align_corners, precision), like.device)
    if type(made) is Tensor:  # a fake one, a subclass, is of its mode alone
        _kept[key] = made
    return made
