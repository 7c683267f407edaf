"""Operations on intensity and colour from RandAugment's list, for images that are real numbers.

Each is torchvision's ``transforms.v2.functional`` of its name; here none waits for the device, and all have a deterministic
version on CUDA (``equalize`` counts levels by sorting instead of by adding up).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.augmentation import colour
from datasets.augmentation.resample import gaussian_taps, mix

Operation = Callable[[Tensor, float], Tensor]  # of an image (1, 3, H, W) in [0, 1] and a strength
_BLUR_RADIUS = 6  # pixels, three of the largest standard deviations


def _factor(operation: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """Return an operation of ``colour``, which works in place, as one that doesn't."""

    def apply(image: Tensor, strength: float) -> Tensor:
        return operation(image.clone(), image.new_full((1, 1, 1, 1), strength))

    return apply


def _levels(image: Tensor) -> Tensor:
    """Return values in [0, 1] as whole numbers of 8 bits: k/255 is k, and what lies above it too."""
    return image.mul(256 - 1e-3).floor()


def identity(image: Tensor, strength: float) -> Tensor:
    """Return the image as it is."""
    return image


def autocontrast(image: Tensor, strength: float) -> Tensor:
    """Stretch each channel so that its least value is 0 and its greatest 1; one that has a single value stays."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    return torch.where(high > low, (image - low) / (high - low).clamp_min(1e-12), image)


def equalize(image: Tensor, strength: float) -> Tensor:
    """Spread each channel's 256 levels so that their histogram is as flat as it can be, as Pillow does."""
    level = _levels(image)
    flat = level.flatten(2)
    levels = torch.arange(256.0, device=image.device).expand(*flat.shape[:2], 256).contiguous()
    upto = torch.searchsorted(flat.sort(dim=2).values, levels, right=True)  # pixels of at most this level
    highest = upto - F.pad(upto[..., :-1], (1, 0))  # pixels of this level
    last = highest.gather(2, flat.amax(2, keepdim=True).long())  # of the highest level that there is
    step = torch.div(upto[..., -1:] - last, 255, rounding_mode="floor")
    below = F.pad(upto[..., :-1], (1, 0))
    table = torch.div(below + torch.div(step, 2, rounding_mode="floor"), step.clamp_min(1), rounding_mode="floor")
    new = table.clamp(0, 255).gather(2, flat.long()).view_as(level)
    return torch.where(step[..., None] > 0, new, level) / 255


def sharpness(image: Tensor, strength: float) -> Tensor:
    """Blend with the smoothed image: 0 gives that, 1 the original; the outermost pixels stay."""
    kernel = image.new_ones(3, 3)
    kernel[1, 1] = 5
    smooth = image.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(image, (kernel / 13).expand(3, 1, 3, 3), groups=3)
    return torch.lerp(smooth, image, strength).clamp(0, 1)


def posterize(image: Tensor, strength: float) -> Tensor:
    """Keep the first bits of each of 8, a whole number of them."""
    step = 2 ** (8 - int(strength))
    return _levels(image).div(step).floor().mul(step).div(255)


def solarize(image: Tensor, strength: float) -> Tensor:
    """Invert what is at least a threshold in [0, 1]."""
    return torch.where(image >= strength, 1 - image, image)


def blur(image: Tensor, strength: float) -> Tensor:
    """Blur by a Gaussian of this standard deviation in pixels."""
    sigma = np.array([strength])
    return mix(image, *(gaussian_taps(sigma, side, _BLUR_RADIUS, image.device) for side in image.shape[2:]))


# Name, operation, and the range of its strength: those of AugSeg's table 1.
POOL: tuple[tuple[Operation, tuple[float, float]], ...] = (
    (identity, (0.0, 0.0)),
    (autocontrast, (0.0, 0.0)),
    (equalize, (0.0, 0.0)),
    (blur, (0.1, 2.0)),
    (_factor(colour.contrast), (0.05, 0.95)),
    (sharpness, (0.05, 0.95)),
    (_factor(colour.saturation), (0.05, 0.95)),
    (_factor(colour.brightness), (0.05, 0.95)),
    (_factor(colour.hue), (0.0, 0.5)),
    (posterize, (4.0, 9.0)),
    (solarize, (1 / 256, 1.0)),
)
