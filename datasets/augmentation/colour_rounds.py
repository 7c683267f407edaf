"""Colour jitter of a whole batch on a GPU, in few launches, whatever the images' own orders of the four operations.

Brightness, contrast and saturation are one operation with other weights: image · a + mean grey · b + grey · c, clamped. So a
jitter is at most three rounds of it before the turn of the hue and at most three after it, four with greying; an image that
has nothing to do in a round takes the weights (1, 0, 0), which leave it as it is. ``colour`` computes the same by images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.transfer import to_device
from datasets.augmentation.colour import NEUTRAL, grey

_SATURATION, _HUE = 2, 3  # their places in colour.OPERATIONS
_IDENTITY = (1.0, 0.0, 0.0)
# Channel = ramp of the hue h in sixths of a turn: red |h - 3| - 1, green 2 - |h - 2|, blue 2 - |h - 4|, clamped to [0, 1].
_RAMPS = np.array([[3, 2, 4], [1, -1, -1], [-1, 2, 2]], np.float32)  # centres, signs, offsets

Weights = tuple[float, float, float]


def _weights(operation: int, factor: float) -> Weights:
    """Return the weights (a, b, c) of brightness, contrast or saturation."""
    rest = 1 - factor
    return ((factor, 0.0, 0.0), (factor, rest, 0.0), (factor, 0.0, rest))[operation]


def _rounds(of_images: list[list[Weights]]) -> NDArray[np.float32]:
    """Return the weights of each round, (R, 3, B), R being the most that an image has to do."""
    count = max(map(len, of_images))
    padded = [[*some, *[_IDENTITY] * (count - len(some))] for some in of_images]
    return np.array(padded, np.float32).reshape(len(of_images), count, 3).transpose(1, 2, 0)


class ColourRounds:
    """The colour jitter of one batch.

    Args:
        jittered: (B,) bool, which images are jittered.
        factors: (B, 4), the factor of each of ``colour.OPERATIONS``.
        order: (B, 4), each row a permutation of 0..3.
        greyed: (B,) bool, which images lose their colour after that: one more round after the turn.
        device: where the images are; everything is copied there at once.
    """

    def __init__(
        self,
        jittered: NDArray[np.bool_],
        factors: NDArray[np.float64],
        order: NDArray[np.int64],
        greyed: NDArray[np.bool_],
        device: torch.device,
    ) -> None:
        batch = len(jittered)
        before: list[list[Weights]] = [[] for _ in range(batch)]
        after: list[list[Weights]] = [[] for _ in range(batch)]
        for i in np.flatnonzero(jittered):
            now = before[i]
            for operation in order[i]:
                if operation == _HUE:
                    now = after[i]
                elif factors[i, operation] != NEUTRAL[operation]:
                    now.append(_weights(operation, float(factors[i, operation])))
        for i in np.flatnonzero(greyed):
            after[i].append(_weights(_SATURATION, 0.0))
        turned = jittered & (factors[:, _HUE] != NEUTRAL[_HUE])
        self.turns = bool(turned.any())
        first, second = _rounds(before), _rounds(after)
        parts = [first, second, factors[:, _HUE].astype(np.float32) + 1, turned, _RAMPS]
        flat = to_device(np.concatenate([part.astype(np.float32).ravel() for part in parts]), device)
        some = iter(flat.split_with_sizes([part.size for part in parts]))
        self._before = next(some).view(*first.shape, 1, 1, 1)
        self._after = next(some).view(*second.shape, 1, 1, 1)
        self._shift = next(some).view(batch, 1, 1, 1)
        self._turned = next(some).view(batch, 1, 1, 1)
        self._ramps = next(some).view(3, 1, 3, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """Return the jittered batch (B, 3, H, W) float32 in [0, 1]; the input is left alone."""
        for weights in self._before:
            image = _blend(image, weights)
        if self.turns:
            image = torch.where(self._turned > 0, self._turn(image), image)
        for weights in self._after:
            image = _blend(image, weights)
        return image

    def _turn(self, image: Tensor) -> Tensor:
        """Turn the hue of every image (see ``colour.hue``)."""
        red, green, blue = image.chunk(3, dim=1)
        high, low = image.amax(1, keepdim=True), image.amin(1, keepdim=True)
        chroma = high - low
        turn = torch.add(red - green, chroma, alpha=4)  # in sixths of a turn, times chroma; here for blue = maximum
        turn = torch.where(green == high, torch.add(blue - red, chroma, alpha=2), turn)
        turn = torch.where(red == high, green - blue, turn)
        turn = turn.div_(chroma.clamp_min(1e-12)).mul_(1 / 6).add_(self._shift).frac_().mul_(6)
        centres, signs, offsets = self._ramps
        ramp = torch.addcmul(offsets, (turn - centres).abs_(), signs).clamp_(0, 1)
        return torch.addcmul(low, ramp, chroma)


def _blend(image: Tensor, weights: Tensor) -> Tensor:
    """Return image · a + mean grey · b + grey · c, clamped, for weights (3, B, 1, 1, 1)."""
    own, of_mean, of_grey = weights
    shade = grey(image)
    other = torch.addcmul(shade.mean((1, 2, 3), keepdim=True) * of_mean, shade, of_grey)
    return torch.addcmul(other, image, own).clamp_(0, 1)
