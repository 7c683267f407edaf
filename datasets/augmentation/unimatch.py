"""The augmentation of FixMatch and UniMatch: a weak view is scaled and flipped, a strong one has other colours.

Scale, crop and flip are made on the host while loading, for labelled and unlabelled images alike; only the strong view is
jittered, greyed and blurred. Source: Yang et al., Revisiting Weak-to-Strong Consistency, CVPR 2023, section 4.1, with the
ranges of the authors' code; see ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import bench.config
from bench.arrays import IGNORE_INDEX, UInt8
from bench.registry import register
from datasets.augmentation.photometric import to_float
from datasets.augmentation.reco import (
    AugmentationConfig,
    CropSize,
    FactorRange,
    Probability,
    ScaleRange,
    SigmaRange,
    StrongView,
    TurnRange,
    check_sizes,
)
from datasets.augmentation.resample import Size, Window, crop_image, crop_mask, draw_window, inside


class ScaledViewsConfig(bench.config.Config):
    """Options of the views of :class:`ScaledViews`.

    Attributes:
        crop_size: (height, width) of the crop in pixels; one number means a square.
        scale: range of the random scale of every image, labelled or not.
        flip_p: probability of a horizontal flip of every image.
    """

    crop_size: CropSize = (321, 321)
    scale: ScaleRange = (0.5, 2.0)
    flip_p: Probability = 0.5


class UniMatchConfig(ScaledViewsConfig):
    """Options of the augmentation. The defaults are the authors' for Pascal VOC; for Cityscapes they have crops of 801.

    Attributes:
        jitter_p: probability of colour jitter of the strong view.
        brightness, contrast, saturation: range of the factor; 1 changes nothing.
        hue: range of the shift in turns of the colour circle; 0 changes nothing.
        grey_p: probability that the strong view loses its colour, after the jitter.
        blur_p: probability of Gaussian blur of the strong view.
        blur_sigma: range of the blur's standard deviation in pixels.
    """

    jitter_p: Probability = 0.8
    brightness: FactorRange = (0.5, 1.5)
    contrast: FactorRange = (0.5, 1.5)
    saturation: FactorRange = (0.5, 1.5)
    hue: TurnRange = (-0.25, 0.25)
    grey_p: Probability = 0.2
    blur_p: Probability = 0.5
    blur_sigma: SigmaRange = (0.1, 2.0)


class _Geometry(NamedTuple):
    """What was drawn for one image: the crop of the scaled image, and whether it is flipped."""

    window: Window
    flipped: bool


class ScaledViews:
    """Every image scaled, cropped and flipped at random, labelled or not; a subclass has the strong view.

    Where a crop reaches beyond the scaled image it is black, and void in the mask (``Unlabelled.inside``). Thread safe: it
    keeps no state but its options.
    """

    to_float = staticmethod(to_float)

    def __init__(self, config: ScaledViewsConfig) -> None:
        self.config = config

    def _draw(self, size: Size, rng: np.random.Generator) -> _Geometry:
        """Draw four numbers for an image of a (height, width)."""
        window = draw_window(rng, size, self.config.crop_size, self.config.scale)
        return _Geometry(window, bool(rng.random() < self.config.flip_p))

    def _image(self, image: UInt8, drawn: _Geometry) -> UInt8:
        return _turned(crop_image(image, drawn.window, self.config.crop_size, border="constant"), drawn)

    def _mask(self, mask: UInt8, drawn: _Geometry) -> UInt8:
        return _turned(crop_mask(mask, drawn.window, self.config.crop_size, IGNORE_INDEX), drawn)

    def labelled_view(self, image: UInt8, mask: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        """Scale, crop and flip a labelled image (H, W, 3) and its mask (H, W) at random (host); four draws.

        Raises:
            BenchError: if image and mask differ in size.
        """
        check_sizes(image, mask)
        drawn = self._draw(mask.shape, rng)
        return self._image(image, drawn), self._mask(mask, drawn)

    def weak_view(self, image: UInt8, rng: np.random.Generator) -> UInt8:
        """Scale, crop and flip an unlabelled image (H, W, 3) at random (host); four draws."""
        return self._image(image, self._draw((image.shape[0], image.shape[1]), rng))

    def weak_mask(self, mask: UInt8, rng: np.random.Generator) -> UInt8:
        """Move a mask (H, W) as `weak_view` moves its image with a generator in the same state; border 255."""
        return self._mask(mask, self._draw(mask.shape, rng))

    def weak_extent(self, size: Size, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Return what shows the image in the `weak_view` of one of this (height, width), generators in the same state.

        Returns:
            First row, first column, and before which row and column it ends.
        """
        drawn = self._draw(size, rng)
        rows, columns = inside(drawn.window, self.config.crop_size)
        left = self.config.crop_size[1] - columns if drawn.flipped else 0
        return 0, left, rows, left + columns

    @torch.no_grad()
    def finish(self, image: Tensor, label: Tensor, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Return labelled views (B, 3, h, w) as float32 in [0, 1] and their labels as int64: their colours stay."""
        return to_float(image), label.long()


def _turned(view: UInt8, drawn: _Geometry) -> UInt8:
    """Return a view (H, W, …) flipped where it was drawn so."""
    return np.ascontiguousarray(view[:, ::-1]) if drawn.flipped else view


@register("augmentation", "unimatch")
class UniMatchAugmentation(ScaledViews):
    """UniMatch's recipe: every image scaled, cropped and flipped at random; the strong view jittered, greyed and blurred."""

    Config = UniMatchConfig

    def __init__(self, config: UniMatchConfig) -> None:
        super().__init__(config)
        colours = config.model_dump(exclude={"scale", "flip_p"})
        self._strong = AugmentationConfig(**colours, scale=(1.0, 1.0), flip_p=0.0)

    def strong(self, rngs: Sequence[np.random.Generator], device: torch.device | str) -> StrongView:
        """Draw the strong augmentation of one step, one generator per slot. Its geometric half changes nothing."""
        return StrongView(self._strong, rngs, device)
