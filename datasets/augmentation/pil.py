"""The augmentation in Pillow's 8-bit arithmetic, as the ReCo authors' code has it: one image at a time, on the host.

Their images are PIL images: every colour operation and every blur cuts its outcome down to whole levels of 255. Unlabelled
images take the way there twice, from the network's normalised input, which costs some levels once more. Parameters are drawn
as for the exact arithmetic, so that the two differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from bench.arrays import UInt8
from bench.transfer import to_device
from datasets.augmentation.colour import NEUTRAL
from datasets.augmentation.draws import Draws
from datasets.augmentation.resample import Size, Window

# As in torchvision's recipes; the authors' `denormalise` divides by their inverses.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def through_bytes(image: Tensor) -> list[UInt8]:
    """Return images (B, 3, H, W) as the authors' code hands them to Pillow, each (H, W, 3) uint8.

    uint8 stays as it is. Real numbers in [0, 1] are normalised, taken back and cut down to whole levels, in float32: the
    trip of ``batch_transform`` in the authors' ``build_data.py``, in which 59, 38 and 32 of the 256 levels of red, green
    and blue lose one.
    """
    if image.is_floating_point():
        values = (_MEAN, _STD, [1 / std for std in _STD])
        mean, std, inverse = (torch.tensor(v, device=image.device).view(3, 1, 1) for v in values)
        image = ((image.float() - mean) / std).div(inverse).add(mean).mul(255).byte()
    return list(image.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def crop_scaled(image: UInt8, window: Window, crop: Size) -> UInt8:
    """Scale a whole image (H, W, 3), pad it by reflection, then crop it, as the authors' ``transform`` does.

    ``resample.crop_image`` resamples what the crop shows alone, which differs by up to two levels.

    Returns:
        (h, w, 3), a copy.
    """
    height, width = window.scaled
    scaled = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    below, right = max(crop[0] - height, 0), max(crop[1] - width, 0)
    padded = np.pad(scaled, ((0, below), (0, right), (0, 0)), mode="reflect")
    top, left = window.start
    return padded[top : top + crop[0], left : left + crop[1]].copy()


def geometric(image: Tensor, windows: Sequence[Window], crop: Size) -> Tensor:
    """Return images (B, 3, H, W) scaled and cropped by Pillow, float32 in [0, 1], border reflected."""
    views = [crop_scaled(one, window, crop) for one, window in zip(through_bytes(image), windows, strict=True)]
    return _as_floats(np.stack(views), image.device)


def _as_floats(views: UInt8, device: torch.device) -> Tensor:
    return to_device(views, device).permute(0, 3, 1, 2).to(torch.float32).div(255)


class PilPhotometric:
    """Colour jitter, blur and flip (see ``datasets.augmentation.photometric.Photometric``)."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.parts = [slice(i, i + 1) for i in range(len(draws.jittered))]

    def images(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the images, each a batch of one."""
        for i, part in enumerate(self.parts):
            (pixels,) = through_bytes(image[part])
            yield _as_floats(np.array(self._view(Image.fromarray(pixels), i))[None], image.device)

    def flip(self, maps: Iterable[Tensor]) -> Tensor:
        """Join the images."""
        flipped = self.draws.flipped
        return torch.cat([one.flip(-1) if flipped[i] else one for i, one in enumerate(maps)])

    def _view(self, image: Image.Image, i: int) -> Image.Image:
        from torchvision.transforms import functional

        operations = (
            functional.adjust_brightness,
            functional.adjust_contrast,
            functional.adjust_saturation,
            functional.adjust_hue,
        )
        for operation in self.draws.order[i] if self.draws.jittered[i] else ():
            factor = float(self.draws.factors[i, operation])
            if factor != NEUTRAL[operation]:
                image = operations[operation](image, factor)
        if self.draws.blurred[i]:
            image = image.filter(ImageFilter.GaussianBlur(radius=float(self.draws.sigma[i])))
        return image
