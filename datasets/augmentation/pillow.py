"""The augmentation in PIL's 8-bit arithmetic, as in the ReCo authors' code: torchvision's functions on PIL images.

Images pass through the host one by one, from a GPU and back, and the step waits for them. A blend (brightness, contrast,
saturation) is cut down to 8 bits, the turn of the hue goes through 8-bit HSV, and the blur is three box filters per axis,
each rounded to 8 bits, with the border repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from bench.arrays import IMAGENET_MEAN, IMAGENET_STD, UInt8
from bench.transfer import to_device
from datasets.augmentation.colour import NEUTRAL
from datasets.augmentation.photometric import Draws, flip_chosen, to_float
from datasets.augmentation.resample import Window, crop_image

_EXACT = 1e-3  # in levels: how far from a whole level a GPU's division by 255 may leave it


def in_8_bits(image: Tensor) -> Tensor:
    """Return images (B, 3, H, W) as uint8 on the host; uint8 stays as it is.

    Floats in [0, 1] go through the normalisation with ImageNet's mean and deviation and back, in float32, and are cut
    down, as by ``normalize``, ``denormalise`` and ``to_pil_image`` in the authors' code: 59, 38 and 32 of the 256 levels of
    red, green and blue come out one lower.
    """
    image = image.cpu()
    if image.dtype == torch.uint8:
        return image
    level = (image.float() * 255).round()
    image = torch.where((image * 255 - level).abs() < _EXACT, level / 255, image)
    constants = IMAGENET_MEAN, IMAGENET_STD, [1 / deviation for deviation in IMAGENET_STD]
    mean, deviation, inverse = (torch.tensor(values).view(3, 1, 1) for values in constants)
    back = (image - mean) / deviation / inverse + mean
    return back.mul(255).to(torch.uint8)


def _on_host(image: Tensor, change: Callable[[int, UInt8], UInt8]) -> Tensor:
    """Return images (B, 3, H, W) changed one by one, as float32 multiples of 1/255 on the same device.

    Args:
        image: uint8, or float in [0, 1] (see :func:`in_8_bits`).
        change: takes an image's place in the batch and its pixels (H, W, 3), and keeps their shape.
    """
    if type(image) is not Tensor:  # fake ones, a subclass, with which memory is predicted, have no pixels
        return image.new_empty(image.shape, dtype=torch.float32)
    pixels = in_8_bits(image).permute(0, 2, 3, 1).contiguous().numpy()
    changed = np.stack([change(i, one) for i, one in enumerate(pixels)])
    return to_float(to_device(changed, image.device).permute(0, 3, 1, 2))


def resampled(image: Tensor, windows: Sequence[Window]) -> Tensor:
    """Scale, pad and crop images (B, 3, H, W) that keep their size: the whole image is resized, then padded, then cut."""
    return _on_host(image, lambda i, pixels: crop_image(pixels, windows[i], pixels.shape[:2], whole=True))


class ThroughPillow:
    """The photometric half through Pillow, for any device (see ``photometric.Photometric``)."""

    def __init__(self, draws: Draws, device: torch.device) -> None:
        from torchvision.transforms import functional as f  # takes two seconds; planning doesn't need it

        self._operations = (f.adjust_brightness, f.adjust_contrast, f.adjust_saturation, f.adjust_hue)
        self._grey = f.to_grayscale
        self.draws = draws
        self.parts = [slice(0, len(draws.jittered))]
        self._flipped = to_device(draws.flipped, device)

    def images(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the batch."""
        yield _on_host(image, self._one)

    def flip(self, maps: Iterable[Tensor]) -> Tensor:
        """Return the batch."""
        (batch,) = maps
        return flip_chosen(batch, self._flipped) if self.draws.flipped.any() else batch.clone()

    def _one(self, i: int, pixels: UInt8) -> UInt8:
        """Jitter and blur the i-th image."""
        view, draws = Image.fromarray(pixels), self.draws
        for operation in draws.order[i] if draws.jittered[i] else ():
            if draws.factors[i, operation] != NEUTRAL[operation]:
                view = self._operations[operation](view, float(draws.factors[i, operation]))
        if draws.greyed[i]:
            view = self._grey(view, 3)
        if draws.blurred[i]:
            view = view.filter(ImageFilter.GaussianBlur(float(draws.sigma[i])))
        return np.asarray(view)
