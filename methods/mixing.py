"""Mixing of unlabelled images with their pseudo-labels: ClassMix, CutMix and Cutout, batched and without host syncs.

Image i is mixed with image (i + 1) mod B; in a batch of one, with itself, so that only Cutout changes it. Random numbers
are drawn on the host; nothing else is copied to the device. Source: ``generate_unsup_data`` in the ReCo authors'
``module_list.py``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.transfer import to_device
from methods.base import IMAGENET_MEAN

Mix = Literal["classmix", "cutmix", "cutout", "none"]
_LABELS = 256  # every value that a label can have, 255 (ignore) included


def mix(
    kind: Mix,
    image: Tensor,
    label: Tensor,
    confidence: Tensor,
    rng: np.random.Generator,
    draw_void: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix a batch. Shapes are kept; the inputs aren't changed.

    Args:
        kind: ``classmix`` keeps the pixels of half of the classes in i's pseudo-label; ``cutmix`` keeps what lies outside
            a random rectangle of half the area. The rest comes from the partner. ``cutout`` fills the rectangle with
            ImageNet's mean colour, label 255 and confidence 0. ``none`` changes nothing.
        image: (B, 3, H, W) in [0, 1].
        label: pseudo-label (B, H, W), int64, 255 = ignore.
        confidence: (B, H, W) in [0, 1].
        rng: generator of this step's draws.
        draw_void: of ``classmix``, see :func:`class_mask`.
    """
    if kind == "none":
        return image, label, confidence
    if kind == "classmix":
        keep = class_mask(label, rng, draw_void)
    else:
        keep = ~rectangle_mask(len(label), label.shape[1], label.shape[2], rng, label.device)
    if kind == "cutout":
        fill = to_device(np.array(IMAGENET_MEAN, np.float32), image.device).to(image.dtype).view(1, 3, 1, 1)
        return (
            torch.where(keep[:, None], image, fill),
            label.masked_fill(~keep, IGNORE_INDEX),
            confidence.masked_fill(~keep, 0.0),
        )
    return (
        torch.where(keep[:, None], image, image.roll(-1, 0)),
        torch.where(keep, label, label.roll(-1, 0)),
        torch.where(keep, confidence, confidence.roll(-1, 0)),
    )


def class_mask(label: Tensor, rng: np.random.Generator, draw_void: bool = True) -> Tensor:
    """Return (B, H, W) bool: True on floor(n/2) of the n classes present in each image, chosen uniformly.

    Ignored pixels (255) count as one more class, as in the ReCo authors' ``generate_class_mask``, where they are -1; with
    `draw_void` False they don't and are False, as in the ClassMix authors' ``trainSSL.py``.
    """
    batch = len(label)
    flat = label.flatten(1)
    drawn = rng.permuted(np.tile(np.arange(_LABELS), (batch, 1)), axis=1)
    ranks = to_device(drawn, label.device)
    present = torch.zeros(batch, _LABELS, dtype=torch.bool, device=label.device).scatter_(1, flat, True)
    if not draw_void:
        present[:, IGNORE_INDEX] = False
    ranks = ranks.masked_fill(~present, -1)
    half = present.sum(1, keepdim=True) // 2
    least = ranks.sort(dim=1, descending=True).values.gather(1, (half - 1).clamp(min=0))
    chosen = (ranks >= least) & (half > 0)
    return chosen.gather(1, flat).view_as(label)


def draw_rectangles(count: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` rectangles (top, left, bottom, right), each of half the image's area up to rounding.

    Width uniform in [width/2 + 1, width - 1], height from the area, position uniform. Source: the authors'
    ``generate_cutout_mask``.
    """
    w = rng.integers(width // 2 + 1, width, size=count)
    h = np.round(height * width / 2 / w).astype(np.int64)
    left = rng.integers(0, width - w + 1)
    top = rng.integers(0, height - h + 1)
    return np.stack([top, left, top + h, left + w], axis=1)


def rectangle_mask(count: int, height: int, width: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return (count, height, width) bool: True inside a random rectangle of half the area (see `draw_rectangles`)."""
    box = to_device(draw_rectangles(count, height, width, rng), device)
    top, left, bottom, right = (box[:, i, None] for i in range(4))
    y = torch.arange(height, device=device)
    x = torch.arange(width, device=device)
    rows = (y >= top) & (y < bottom)
    columns = (x >= left) & (x < right)
    return rows[:, :, None] & columns[:, None, :]
