"""The augmentation of AugSeg: weak views as UniMatch's, strong ones by a random number of random operations on intensity.

Source: Zhao et al., Augmentation Matters, CVPR 2023 (arXiv 2212.04976), section 3.2. See ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.registry import register
from datasets.augmentation.intensity import POOL
from datasets.augmentation.reco import CropSize
from datasets.augmentation.unimatch import ScaledViews, ScaledViewsConfig


class AugSegConfig(ScaledViewsConfig):
    """Options of the augmentation. The defaults are the authors' for Pascal VOC; for Cityscapes they have crops of 800.

    Attributes:
        most: the strong view goes through 1 to this many different operations of ``intensity.POOL``.
    """

    crop_size: CropSize = (513, 513)
    most: int = Field(default=3, ge=1, le=len(POOL))


class IntensityView:
    """The strong augmentation of one step's unlabelled images (``methods.base.StrongAugment``); it moves no pixel.

    Args:
        most: operations per image.
        rngs: the generator of each image.
    """

    def __init__(self, most: int, rngs: Sequence[np.random.Generator]) -> None:
        self.plans = [_plan(most, rng) for rng in rngs]

    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        """Return copies: scale, crop and flip are the weak view's."""
        return image.clone(), *(values.clone() for values, _ in maps)

    @torch.no_grad()
    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Apply each image's operations (B, 3, H, W) in [0, 1], one after the other; maps are copied."""
        views = []
        for i, plan in enumerate(self.plans):
            view = image[i : i + 1].float().contiguous()
            for operation, strength in plan:
                view = POOL[operation][0](view, strength)
            views.append(view)
        return torch.cat(views), *(values.clone() for values in maps)

    def warp(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, H, W) as float32."""
        return maps.float()


def _plan(most: int, rng: np.random.Generator) -> list[tuple[int, float]]:
    """Draw an image's operations with their strengths, uniform in their ranges; as many draws whatever comes of them."""
    count = int(rng.integers(1, most + 1))
    order, strengths = rng.permutation(len(POOL)), rng.random(len(POOL))
    ranges = [POOL[operation][1] for operation in order]
    drawn = [
        (int(o), low + (high - low) * float(u)) for o, (low, high), u in zip(order, ranges, strengths, strict=True)
    ]
    return drawn[:count]


@register("augmentation", "augseg")
class AugSegAugmentation(ScaledViews):
    """AugSeg's recipe: every image scaled, cropped and flipped at random; the strong view through random operations."""

    Config = AugSegConfig

    def __init__(self, config: AugSegConfig) -> None:
        super().__init__(config)
        self.most = config.most

    def strong(self, rngs: Sequence[np.random.Generator], device: torch.device | str) -> IntensityView:
        """Draw the strong augmentation of one step, one generator per slot. Its geometric half changes nothing."""
        return IntensityView(self.most, rngs)
