"""Mixing of unlabelled images with their pseudo-labels: ClassMix, CutMix and Cutout, batched and without host syncs.

Image i is mixed with image (i + 1) mod B; in a batch of one, with itself, so that only Cutout changes it. Random numbers
are drawn on the host; nothing else is copied to the device. Source: ``generate_unsup_data`` in the ReCo authors'
``module_list.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.transfer import to_device
from methods.base import IMAGENET_MEAN, rectangles

Mix = Literal["classmix", "cutmix", "cutout", "none"]
Boxes = Literal["half", "unimatch", "cps", "augseg"]
_LABELS = 256  # every value that a label can have, 255 (ignore) included


def mix(
    kind: Mix,
    image: Tensor,
    label: Tensor,
    confidence: Tensor,
    rng: np.random.Generator,
    draw_void: bool = True,
    boxes: Boxes = "half",
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix a batch. Shapes are kept; the inputs aren't changed.

    Args:
        kind: ``classmix`` keeps the pixels of half of the classes in i's pseudo-label; ``cutmix`` keeps what lies outside
            random boxes. The rest comes from the partner. ``cutout`` fills the boxes with ImageNet's mean colour, label 255
            and confidence 0. ``none`` changes nothing.
        image: (B, 3, H, W) in [0, 1].
        label: pseudo-label (B, H, W), int64, 255 = ignore.
        confidence: (B, H, W) in [0, 1].
        rng: generator of this step's draws.
        draw_void: of ``classmix``, see :func:`class_mask`.
        boxes: of ``cutmix`` and ``cutout``, see :func:`draw_boxes`.
    """
    if kind == "none":
        return image, label, confidence
    if kind == "classmix":
        keep = class_mask(label, rng, draw_void)
    else:
        keep = ~box_mask(boxes, len(label), label.shape[1], label.shape[2], rng, label.device)
    if kind == "cutout":
        fill = to_device(np.array(IMAGENET_MEAN, np.float32), image.device).to(image.dtype).view(1, 3, 1, 1)
        return (
            torch.where(keep[:, None], image, fill),
            label.masked_fill(~keep, IGNORE_INDEX),
            confidence.masked_fill(~keep, 0.0),
        )
    image, label, confidence = combine(
        keep, (image, label, confidence), [x.roll(-1, 0) for x in (image, label, confidence)]
    )
    return image, label, confidence


def combine(keep: Tensor, own: Sequence[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    """Return each of a batch's tensors where `keep` (B, H, W) holds, and elsewhere its partner of `other`.

    Args:
        keep: bool.
        own, other: images (B, C, H, W) or maps (B, H, W).
    """
    return [torch.where(keep if x.ndim == 3 else keep[:, None], x, y) for x, y in zip(own, other, strict=True)]


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
    return _placed(w, h, rng.integers(0, width - w + 1), rng.integers(0, height - h + 1))


def _placed(w: NDArray[Any], h: NDArray[Any], left: NDArray[Any], top: NDArray[Any]) -> NDArray[np.int64]:
    return np.stack([top, left, top + h, left + w], axis=-1).astype(np.int64)


def _draw_small(count: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` rectangles, about half of them empty, the others of 2 to 40 % of the image's area.

    Area uniform, ratio of height to width uniform in [0.3, 1/0.3], corner uniform in the image; ratio and corner are drawn
    anew until the rectangle lies within the image. Source: UniMatch, as its authors' code behaves.
    """
    found = np.zeros((count, 4), np.int64)
    area = rng.uniform(0.02, 0.4, count) * height * width
    todo = np.flatnonzero(rng.random(count) < 0.5)
    while len(todo):
        ratio = rng.uniform(0.3, 1 / 0.3, len(todo))
        w, h = (np.sqrt(area[todo] * r).astype(np.int64) for r in (1 / ratio, ratio))
        left, top = rng.integers(0, width, len(todo)), rng.integers(0, height, len(todo))
        fits = (left + w <= width) & (top + h <= height)
        found[todo[fits]] = _placed(w, h, left, top)[fits]
        todo = todo[~fits]
    return found


def _draw_three(count: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return three rectangles for each image, (count, 3, 4), which together have 25 to 50 % of its area if none overlap.

    Each has a share p of that for itself, uniform in [0.25, 0.5], and its height is p^u of the image's for a uniform u; both
    sides are then divided by √3. Position uniform. Source: the boxes of French et al., BMVC 2020, as CPS has them.
    """
    share = rng.uniform(0.25, 0.5, (count, 3))
    tall = np.exp(rng.random((count, 3)) * np.log(share))
    sides = (tall * math.sqrt(1 / 3), share / tall * math.sqrt(1 / 3))
    h, w = (np.round(side * size).astype(np.int64) for side, size in zip(sides, (height, width), strict=True))
    return _placed(w, h, rng.integers(0, width - w + 1), rng.integers(0, height - h + 1))


def _draw_beta(count: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` rectangles of the image's shape and a share of its area drawn from Beta(4, 4), cut off at its edges.

    The centre is uniform in the image. Source: CutMix, Yun et al., ICCV 2019, section 3.1, which has Beta(1, 1); the
    parameter is this project's choice, as AugSeg's paper gives none.
    """
    side = np.sqrt(rng.beta(4, 4, count))
    w, h = ((side * length).astype(np.int64) for length in (width, height))
    left, top = rng.integers(0, width, count) - w // 2, rng.integers(0, height, count) - h // 2
    return _placed(w, h, left, top).clip(0, np.array([height, width, height, width]))


def draw_boxes(kind: Boxes, count: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the boxes (count, n, 4) of CutMix: top, left, bottom, right of the n of each image.

    Args:
        kind: ``half`` is one of half the area (see :func:`draw_rectangles`), ``unimatch`` one of 2 to 40 % or none,
            ``cps`` three, ``augseg`` one whose share of the area follows a beta distribution.
    """
    if kind == "cps":
        return _draw_three(count, height, width, rng)
    return {"half": draw_rectangles, "unimatch": _draw_small, "augseg": _draw_beta}[kind](count, height, width, rng)[
        :, None
    ]


def box_mask(
    kind: Boxes, count: int, height: int, width: int, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """Return (count, height, width) bool: True inside the random boxes of an image; where two of them overlap, it is not."""
    boxes = draw_boxes(kind, count, height, width, rng)
    mask, *others = (rectangles(boxes[:, i], height, width, device) for i in range(boxes.shape[1]))
    for other in others:
        mask = mask ^ other
    return mask
