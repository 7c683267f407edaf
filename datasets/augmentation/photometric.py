"""Colour jitter, greying, blur and horizontal flip of a batch: image by image on a CPU, the whole batch at once on a GPU.

One image stays in a CPU's cache from one operation to the next. A GPU waits for launches: there every image goes through
every operation, one that isn't chosen with weights that leave it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import kernels
from bench.transfer import to_device
from datasets.augmentation.colour import NEUTRAL, OPERATIONS, grey
from datasets.augmentation.colour_rounds import ColourRounds
from datasets.augmentation.resample import Size, gaussian_taps, mix

_NO_BLUR = 1e-3  # a standard deviation, in pixels, with which every other tap's weight is exactly 0


@dataclass(frozen=True)
class Draws:
    """What was drawn for a batch of B images.

    Attributes:
        jittered, blurred, flipped: (B,) bool, which images are.
        factors: (B, 4), of each operation of ``colour.OPERATIONS``.
        order: (B, 4), the operations' order.
        greyed: (B,) bool, which images lose their colour after the jitter.
        sigma: (B,), standard deviation of the blur in pixels.
        radius: in pixels, where the blur is cut off.
    """

    jittered: NDArray[np.bool_]
    factors: NDArray[np.float64]
    order: NDArray[np.int64]
    greyed: NDArray[np.bool_]
    blurred: NDArray[np.bool_]
    sigma: NDArray[np.float64]
    radius: int
    flipped: NDArray[np.bool_]


class Photometric(Protocol):
    """The photometric half of a batch's augmentation.

    Attributes:
        parts: which images are worked on together.
    """

    parts: list[slice]

    def images(self, image: Tensor) -> Iterator[Tensor]:
        """Yield jittered and blurred copies of images (B, 3, H, W), uint8 or float in [0, 1], by parts."""

    def flip(self, maps: Iterable[Tensor]) -> Tensor:
        """Join the parts of a batch (B, …, W), the chosen images flipped."""


def photometric(draws: Draws, size: Size, device: torch.device) -> Photometric:
    """Return the version for a device; `size` is the images' (height, width)."""
    return (ImageByImage if kernels.kind(device) == "cpu" else WholeBatch)(draws, size, device)


def to_float(image: Tensor) -> Tensor:
    """Return a new float32 copy of images (B, 3, H, W), contiguous: uint8 is divided by 255, floats stay as they are."""
    copy = image.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return copy if image.is_floating_point() else copy.div_(255)


def flip_chosen(batch: Tensor, chosen: Tensor) -> Tensor:
    """Return a batch (B, …, W) flipped where `chosen` (B,) is True."""
    shape: Sequence[int] = (-1, *[1] * (batch.ndim - 1))
    return torch.where(chosen.view(shape), batch.flip(-1), batch)


class ImageByImage:
    """For a CPU (see :class:`Photometric`)."""

    def __init__(self, draws: Draws, size: Size, device: torch.device) -> None:
        self.draws = draws
        self.parts = [slice(i, i + 1) for i in range(len(draws.jittered))]
        self._factors = to_device(draws.factors.astype(np.float32), device).view(-1, 4, 1, 1, 1, 1)
        sigma = draws.sigma[draws.blurred]
        self._blur = [gaussian_taps(sigma, side, draws.radius, device) for side in size]

    def images(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the images, each a batch of one."""
        done = 0  # images blurred so far
        for i, part in enumerate(self.parts):
            view = to_float(image[part])
            for operation in self.draws.order[i] if self.draws.jittered[i] else ():
                if self.draws.factors[i, operation] != NEUTRAL[operation]:
                    view = OPERATIONS[operation](view, self._factors[i, operation])
            if self.draws.greyed[i]:
                view = grey(view).expand_as(view).contiguous()
            if self.draws.blurred[i]:
                view = mix(view, *(taps.of(slice(done, done + 1)) for taps in self._blur))
                done += 1
            yield view

    def flip(self, maps: Iterable[Tensor]) -> Tensor:
        """Join the images."""
        flipped = self.draws.flipped
        return torch.cat([one.flip(-1) if flipped[i] else one for i, one in enumerate(maps)])


class WholeBatch:
    """For a GPU (see :class:`Photometric`)."""

    def __init__(self, draws: Draws, size: Size, device: torch.device) -> None:
        self.draws = draws
        self.parts = [slice(0, len(draws.jittered))]
        self._jitter = ColourRounds(draws.jittered, draws.factors, draws.order, draws.greyed, device)
        sigma = np.where(draws.blurred, draws.sigma, _NO_BLUR)
        self._blur = [gaussian_taps(sigma, side, draws.radius, device) for side in size] if draws.blurred.any() else []
        self._flipped = to_device(draws.flipped, device)

    def images(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the batch."""
        view = self._jitter(to_float(image))
        yield mix(view, *self._blur) if self._blur else view

    def flip(self, maps: Iterable[Tensor]) -> Tensor:
        """Return the batch."""
        (batch,) = maps
        return flip_chosen(batch, self._flipped) if self.draws.flipped.any() else batch.clone()
