"""Pixels near the boundaries of classes, for Boundary IoU (Cheng et al., "Boundary IoU", CVPR 2021, arXiv 2103.16562)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.train.metrics import bin_counts

SHARE = 0.02  # of the image's diagonal: the width of the band, as in the paper


def width(height: int, width: int) -> int:
    """Return how many pixels wide the band inside a class's contour is: 2 % of the diagonal, at least 1."""
    return max(1, round(SHARE * math.hypot(height, width)))


def _any_within(flags: Tensor, dim: int, first: Tensor, last: Tensor) -> Tensor:
    """Return for each i whether any flag from first[i] to last[i] of a dimension is set."""
    before = torch.zeros_like(flags.narrow(dim, 0, 1), dtype=torch.int32)
    sums = torch.cat([before, flags.cumsum(dim, dtype=torch.int32)], dim)
    return sums.index_select(dim, last + 1) > sums.index_select(dim, first)


def near_boundary(classes: Tensor, distance: int) -> Tensor:
    """Return the pixels that have another class, or the image's border, within a distance in rows and in columns.

    That is a mask without its erosion by a square of 2 · distance + 1, for the masks of all classes at once.

    Args:
        classes: (B, H, W) integer, all at least 0.
        distance: in pixels, at least 1.

    Returns:
        (B, H, W) bool. The time doesn't depend on the distance.
    """
    height, width = classes.shape[1:]
    framed = F.pad(classes.short(), (1, 1, 1, 1), value=-1)
    rows, columns = (torch.arange(n, device=classes.device) for n in (height, width))
    left, right = (columns + 1 - distance).clamp(min=0), (columns + 1 + distance).clamp(max=width + 1)
    top, bottom = (rows + 1 - distance).clamp(min=0), (rows + 1 + distance).clamp(max=height + 1)
    mixed = _any_within(framed[:, :, 1:] != framed[:, :, :-1], 2, left, right - 1)  # in the pixel's row
    steps = framed[:, 1:, 1:-1] != framed[:, :-1, 1:-1]  # in its column
    return _any_within(mixed, 1, top, bottom) | _any_within(steps, 1, top, bottom - 1)


def boundary_counts(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of each class near its boundary, per image.

    Void pixels are void in the prediction too, so that a prediction that is right wherever there is a label has the label's
    boundaries; they are counted for no class.

    Args:
        prediction: class indices in [0, num_classes), (B, H, W).
        label: the same shape; values outside [0, num_classes) are void.
        num_classes: K.

    Returns:
        (B, 3, K) int64: near the boundary in both and labelled and predicted as the class; near the label's boundary;
        near the prediction's. No host synchronisation.
    """
    label = label.long()
    valid = (label >= 0) & (label < num_classes)
    label, prediction = (torch.where(valid, classes, num_classes) for classes in (label, prediction.long()))
    distance = width(*label.shape[1:])
    truth, found = (near_boundary(classes, distance) for classes in (label, prediction))
    both = truth & found & (label == prediction)
    chosen = ((label, both), (label, truth), (prediction, found))
    index = torch.stack([torch.where(near, classes, num_classes) for classes, near in chosen], 1)
    return bin_counts(index.flatten(0, 1).flatten(1), num_classes).view(len(label), 3, num_classes)
