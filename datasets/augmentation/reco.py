"""Augmentation: random scale and crop on the host while loading, the rest in batches on the device.

Every parameter is drawn on the host from the generator of the image's slot, a fixed number of draws each time, so that a
view is a pure function of (data seed, step, slot) and never depends on the other images of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor

import bench.config
from bench.arrays import IGNORE_INDEX, UInt8
from bench.bounds import CropSide, Scale, Sigma
from bench.errors import BenchError
from bench.registry import register
from datasets.augmentation.photometric import Draws, Photometric, photometric, to_float
from datasets.augmentation.pillow import ThroughPillow, resampled
from datasets.augmentation.resample import Resample, crop_image, crop_mask, draw_window

BLUR_REACH = 3.0  # standard deviations (of the largest sigma) after which a Gaussian is cut off


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"a range is [lowest, highest], got [{value[0]:g}, {value[1]:g}]")
    return value


Probability = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0, le=1000)]
Turn = Annotated[float, Field(ge=-0.5, le=0.5)]
CropSize = Annotated[tuple[CropSide, CropSide], BeforeValidator(_pair)]
ScaleRange = Annotated[tuple[Scale, Scale], AfterValidator(_ordered)]
SigmaRange = Annotated[tuple[Sigma, Sigma], AfterValidator(_ordered)]
FactorRange = Annotated[tuple[Factor, Factor], AfterValidator(_ordered)]
TurnRange = Annotated[tuple[Turn, Turn], AfterValidator(_ordered)]


class AugmentationConfig(bench.config.Config):
    """Options of the augmentation. The defaults are the ReCo authors' for Pascal VOC and SUN RGB-D.

    Attributes:
        crop_size: (height, width) of the crop in pixels; one number means a square.
        scale: range of the random scale of labelled images and of the strong view; [1, 1] for Cityscapes.
        jitter_p: probability of colour jitter.
        brightness: range of the factor; 1 changes nothing.
        contrast: range of the factor; 1 changes nothing.
        saturation: range of the factor; 1 changes nothing.
        hue: range of the shift in turns of the colour circle; 0 changes nothing.
        grey_p: probability of losing the colour, after the jitter; none in the ReCo authors' code.
        blur_p: probability of Gaussian blur.
        blur_sigma: range of the blur's standard deviation in pixels.
        flip_p: probability of a horizontal flip.
        arithmetic: `exact` computes in real numbers; `pil` has what the ReCo authors' PIL images have: 8 bits after every
            operation, PIL's blur, the whole image resized before it is cut, and the loss of a level where their unlabelled
            images are normalised and back. It works image by image on the host: 3.5 times as long, on a CPU.
        decide: `image` draws for each image whether it is jittered, blurred and flipped, the order of the colour operations
            and the blur's deviation; `batch` draws these once for a batch, as the ClassMix authors' code does, which leaves
            the factors to each image. A (micro-)batch then has those of its first slot.
        augment_labelled: whether labelled images are jittered, blurred and flipped; not so in the ClassMix authors' code.
    """

    crop_size: CropSize = (321, 321)
    scale: ScaleRange = (0.5, 1.5)
    jitter_p: Probability = 0.8
    brightness: FactorRange = (0.75, 1.25)
    contrast: FactorRange = (0.75, 1.25)
    saturation: FactorRange = (0.75, 1.25)
    hue: TurnRange = (-0.25, 0.25)
    grey_p: Probability = Field(default=0.0, json_schema_extra={"identity": "non-default"})
    blur_p: Probability = 0.5
    blur_sigma: SigmaRange = (0.15, 1.15)
    flip_p: Probability = 0.5
    arithmetic: Literal["exact", "pil"] = Field(default="exact", json_schema_extra={"identity": "non-default"})
    decide: Literal["image", "batch"] = Field(default="image", json_schema_extra={"identity": "non-default"})
    augment_labelled: bool = Field(default=True, json_schema_extra={"identity": "non-default"})


_DECISIONS = [0, *range(5, 13)]  # of the 13 draws of an image: all but the factors


def _draw_photometric(config: AugmentationConfig, rngs: Sequence[np.random.Generator]) -> Draws:
    """Draw 13 uniform numbers for each image, used or not."""
    draws = np.stack([rng.random(13) for rng in rngs])
    if config.decide == "batch":
        draws[:, _DECISIONS] = draws[0, _DECISIONS]
    ranges = np.array([config.brightness, config.contrast, config.saturation, config.hue])
    low, high = config.blur_sigma
    return Draws(
        jittered=draws[:, 0] < config.jitter_p,
        factors=ranges[:, 0] + (ranges[:, 1] - ranges[:, 0]) * draws[:, 1:5],
        order=np.argsort(draws[:, 5:9], axis=1),
        greyed=draws[:, 12] < config.grey_p,
        blurred=draws[:, 9] < config.blur_p,
        sigma=low + (high - low) * draws[:, 10],
        radius=math.ceil(BLUR_REACH * high),
        flipped=draws[:, 11] < config.flip_p,
    )


def _photometric(config: AugmentationConfig, rngs: Sequence[np.random.Generator], device: torch.device) -> Photometric:
    """Draw the photometric half of a batch; thirteen draws of each generator."""
    draws = _draw_photometric(config, rngs)
    if config.arithmetic == "pil":
        return ThroughPillow(draws, device)
    return photometric(draws, config.crop_size, device)


class StrongView:
    """The strong augmentation of one step's unlabelled images (``methods.base.StrongAugment``).

    Everything is drawn at construction, geometry first, so that the three functions agree. They return new tensors and
    leave their inputs alone.
    """

    def __init__(
        self, config: AugmentationConfig, rngs: Sequence[np.random.Generator], device: torch.device | str
    ) -> None:
        size, device = config.crop_size, torch.device(device)
        self._pillow = config.arithmetic == "pil"
        self._windows = [draw_window(rng, size, size, config.scale) for rng in rngs]
        self._geometry = Resample(self._windows, size, device, self._pillow)
        self._photometric = _photometric(config, rngs, device)

    @torch.no_grad()
    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        """Random scale and crop of an image and of any number of maps, returned in this order.

        Args:
            image: (B, 3, H, W) in [0, 1], H and W the crop size; resampled bilinear, antialiased, border reflected.
            maps: each (B, H, W) of any type, with its border value; nearest pixel.
        """
        parts, borders = self._photometric.parts, [border for _, border in maps]
        if self._pillow:
            images = [resampled(image, self._windows)]
        else:
            images = [self._geometry.image(image[part].float(), part) for part in parts]
        picked = [self._geometry.pick([values[part] for values, _ in maps], borders, part) for part in parts]
        return torch.cat(images), *(torch.cat(values) for values in zip(*picked, strict=True))

    @torch.no_grad()
    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Colour jitter and Gaussian blur of the image, horizontal flip of all; shapes as in `geometric`."""
        view = self._photometric
        return view.flip(view.images(image)), *(view.flip(_cut(values, view.parts)) for values in maps)

    def warp(self, maps: Tensor) -> Tensor:
        """Move real-valued maps, such as the teacher's class probabilities, to where the strong view shows them.

        Args:
            maps: (B, C, H, W) of the weak view, H and W the crop size.

        Returns:
            (B, C, H, W) float32: scaled (bilinear, antialiased), cropped and flipped; 0 where the view is padding.
            Differentiable.
        """
        view = self._photometric
        return view.flip(self._geometry.maps(maps[part].float(), part) for part in view.parts)


@register("augmentation", "reco")
class Augmentation:
    """The ReCo authors' recipe: random scale and crop, colour jitter, Gaussian blur, horizontal flip.

    Source: ``build_data.transform`` and ``train_semisup`` of github.com/lorenmt/reco. Two differences, unless `arithmetic`
    is `pil`: images stay real numbers after loading (the authors' PIL images have 8 bits after every operation), and the
    blur is a true Gaussian cut off at 3 sigma of the largest sigma (PIL's is made of boxes). See ``docs/differences.md``.

    Thread safe: it keeps no state but its options.
    """

    Config = AugmentationConfig
    to_float = staticmethod(to_float)

    def __init__(self, config: AugmentationConfig) -> None:
        self.config = config

    def labelled_view(self, image: UInt8, mask: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        """Scale and crop a labelled image at random (host).

        Args:
            image: (H, W, 3); bilinear, antialiased, border reflected.
            mask: (H, W); nearest pixel, border 255.
            rng: the slot's generator; three draws. `finish` may go on with the same one.

        Returns:
            Image (h, w, 3) and mask (h, w) of the crop size.

        Raises:
            BenchError: if image and mask differ in size.
        """
        check_sizes(image, mask)
        crop = self.config.crop_size
        window, pillow = draw_window(rng, _size(image), crop, self.config.scale), self.config.arithmetic == "pil"
        return crop_image(image, window, crop, pillow), crop_mask(mask, window, crop, IGNORE_INDEX, pillow)

    def weak_view(self, image: UInt8, rng: np.random.Generator) -> UInt8:
        """Crop an unlabelled image (H, W, 3) at random (host), without scaling; three draws.

        Returns:
            (h, w, 3) of the crop size; reflected at the border where the image is too small.
        """
        crop = self.config.crop_size
        return crop_image(image, draw_window(rng, _size(image), crop, (1.0, 1.0)), crop)

    def weak_mask(self, mask: UInt8, rng: np.random.Generator) -> UInt8:
        """Crop a mask (H, W) as `weak_view` crops its image with a generator in the same state; border 255."""
        crop = self.config.crop_size
        return crop_mask(mask, draw_window(rng, _size(mask), crop, (1.0, 1.0)), crop, IGNORE_INDEX)

    def weak_extent(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Return what shows the image in the `weak_view` of one of this (height, width), generators in the same state.

        Returns:
            First row, first column, and before which row and column it ends: the view is filled on the right and below.
        """
        crop = self.config.crop_size
        return 0, 0, min(size[0], crop[0]), min(size[1], crop[1])

    @torch.no_grad()
    def finish(self, image: Tensor, label: Tensor, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Colour jitter, blur and flip a batch of labelled views (device), unless the config leaves them as they are.

        Args:
            image: (B, 3, h, w), uint8 or float in [0, 1].
            label: (B, h, w), any integer type.
            rngs: the generator of each slot; thirteen draws each.

        Returns:
            Image float32 in [0, 1] and label int64.
        """
        if not self.config.augment_labelled:
            return to_float(image), label.long()
        view = _photometric(self.config, rngs, image.device)
        return view.flip(view.images(image)), view.flip(_cut(label, view.parts)).long()

    def strong(self, rngs: Sequence[np.random.Generator], device: torch.device | str) -> StrongView:
        """Draw the strong augmentation of one step, one generator per slot; sixteen draws each."""
        return StrongView(self.config, rngs, device)


def check_sizes(image: UInt8, mask: UInt8) -> None:
    """Raise BenchError where an image (H, W, 3) and its mask (H, W) differ in size."""
    if image.shape[:2] != mask.shape:
        raise BenchError(
            f"an image is {image.shape[1]}x{image.shape[0]} but its mask {mask.shape[1]}x{mask.shape[0]};"
            " find it with `data check`"
        )


def _cut(batch: Tensor, parts: Sequence[slice]) -> Iterator[Tensor]:
    return (batch[part] for part in parts)


def _size(image: UInt8) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
