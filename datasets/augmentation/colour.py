"""Colour jitter of a batch: each image has its own factors and its own order of the four operations.

The operations are those of ``torchvision.transforms.v2.functional.adjust_*`` on float images in [0, 1], clamped after each
one. They work in place. ``torch.where`` is slow on CPUs (its branches are mispredicted), so hue does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.transfer import to_device


@dataclass(frozen=True)
class Subset:
    """Some images of a batch, known on the host, so that choosing them never waits for the device.

    Attributes:
        size: n, how many.
        index: their positions in the batch, on the device, (n,) int64.
    """

    size: int
    index: Tensor

    def apply(self, batch: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `batch` (B, …) with these images replaced by what `function` makes of them, (n, …) to (n, …).

        A function that works in place may overwrite `batch`; any other leaves it alone.
        """
        if self.size in (0, len(batch)):
            return function(batch) if self.size else batch
        return batch.index_copy(0, self.index, function(batch.index_select(0, self.index)))


def subsets(parts: Sequence[slice], chosen: NDArray[np.bool_], device: torch.device) -> list[Subset]:
    """Return which images of each part of a batch have their flag (B,) set."""
    index = [np.flatnonzero(chosen[part]) for part in parts]
    sizes = [len(i) for i in index]
    tensors = to_device(np.concatenate(index), device).split_with_sizes(sizes)
    return [Subset(size, tensor) for size, tensor in zip(sizes, tensors, strict=True)]


def _grey(image: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 with torchvision's coefficients, (n, 1, H, W)."""
    red, green, blue = image.chunk(3, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def brightness(image: Tensor, factor: Tensor) -> Tensor:
    """Multiply (n, 3, H, W) in [0, 1] by factor (n, 1, 1, 1), in place."""
    return image.mul_(factor).clamp_(0, 1)


def contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of each image, in place: factor 0 gives a grey image, 1 the original."""
    mean = _grey(image).mean(dim=(1, 2, 3), keepdim=True)
    return image.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def saturation(image: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image, in place: factor 0 gives a grey image, 1 the original."""
    grey = _grey(image).mul_(1 - factor)
    return image.mul_(factor).add_(grey).clamp_(0, 1)


def _equal(a: Tensor, b: Tensor) -> Tensor:
    """1.0 where a == b, else 0.0; several times faster on a CPU than comparing to bool and converting."""
    return torch.eq(a, b, out=torch.empty_like(a))


def hue(image: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue of (n, 3, H, W) in [0, 1] by factor (n, 1, 1, 1) in turns, [-0.5, 0.5], in place.

    Hue, chroma and minimum of a pixel (the HSV hexagon) give each channel back as minimum + chroma * ramp(hue).
    """
    red, green, blue = image.chunk(3, dim=1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    turn = torch.add(red - green, chroma, alpha=4)  # in sixths of a turn, times chroma; here for blue = maximum
    turn.lerp_(torch.add(blue - red, chroma, alpha=2), _equal(green, high))
    turn.lerp_(green - blue, _equal(red, high))
    turn.div_(chroma.clamp_min(1e-12)).mul_(1 / 6).add_(factor + 1).frac_().mul_(6)
    torch.sub(turn, 3, out=red).abs_().sub_(1)
    torch.sub(turn, 2, out=green).abs_().neg_().add_(2)
    torch.sub(turn, 4, out=blue).abs_().neg_().add_(2)
    return image.clamp_(0, 1).mul_(chroma).add_(low)


OPERATIONS = (brightness, contrast, saturation, hue)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # the factor that leaves an image as it is


@dataclass(frozen=True)
class ColourStep:
    """One operation on some images of a batch, each with its own factor (n, 1, 1, 1)."""

    operation: Callable[[Tensor, Tensor], Tensor]
    subset: Subset
    factor: Tensor

    def __call__(self, image: Tensor) -> Tensor:
        """Apply it to a batch (B, 3, H, W) float32 in [0, 1]; may overwrite it."""
        return self.subset.apply(image, lambda some: self.operation(some, self.factor))


def _groups(images: Iterable[int], order: list[list[int]], factors: list[list[float]]) -> list[tuple[int, list[int]]]:
    """Return (operation, images) in an order of execution that is right for each of the images."""
    members: dict[tuple[int, int], list[int]] = {}
    for i in images:
        for position, operation in enumerate(order[i]):
            if factors[i][operation] != NEUTRAL[operation]:
                members.setdefault((position, operation), []).append(i)
    return [(operation, members[position, operation]) for position, operation in sorted(members)]


def colour_steps(
    parts: Sequence[slice],
    jittered: NDArray[np.bool_],
    factors: NDArray[np.float64],
    order: NDArray[np.int64],
    device: torch.device,
) -> list[list[ColourStep]]:
    """Return the colour jitter of each part of a batch; images with the same operation at the same place go together.

    Args:
        parts: which images are worked on together.
        jittered: (B,).
        factors: (B, 4), the factor of each operation of `OPERATIONS`.
        order: (B, 4), each row a permutation of 0..3.
        device: where the images are.
    """
    chosen, orders, values = np.flatnonzero(jittered).tolist(), order.tolist(), factors.tolist()
    groups = [_groups([i for i in chosen if part.start <= i < part.stop], orders, values) for part in parts]
    flat = [(i - part.start, values[i][op]) for part, g in zip(parts, groups, strict=True) for op, m in g for i in m]
    sizes = [len(members) for group in groups for _, members in group]
    index = to_device(np.array([i for i, _ in flat], np.int64), device).split_with_sizes(sizes)
    factor = to_device(np.array([f for _, f in flat], np.float32), device).view(-1, 1, 1, 1).split_with_sizes(sizes)
    tensors = zip(index, factor, strict=True)

    def step(operation: int, size: int) -> ColourStep:
        place, values = next(tensors)
        return ColourStep(OPERATIONS[operation], Subset(size, place), values)

    return [[step(operation, len(members)) for operation, members in group] for group in groups]
