"""Colour jitter of images on a CPU: each has its own factors and its own order of the four operations.

The operations are those of ``torchvision.transforms.v2.functional.adjust_*`` on float images in [0, 1], clamped after each
one. They work in place. ``torch.where`` is slow on CPUs (its branches are mispredicted), so hue does without it.
``colour_rounds`` computes the same for a whole batch on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grey(image: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 with torchvision's coefficients, (n, 1, H, W)."""
    red, green, blue = image.chunk(3, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def brightness(image: Tensor, factor: Tensor) -> Tensor:
    """Multiply (n, 3, H, W) in [0, 1] by factor (n, 1, 1, 1), in place."""
    return image.mul_(factor).clamp_(0, 1)


def contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of each image, in place: factor 0 gives a grey image, 1 the original."""
    mean = grey(image).mean(dim=(1, 2, 3), keepdim=True)
    return image.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def saturation(image: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image, in place: factor 0 gives a grey image, 1 the original."""
    other = grey(image).mul_(1 - factor)
    return image.mul_(factor).add_(other).clamp_(0, 1)


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
