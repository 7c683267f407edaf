"""What checks train on: images that are soon learned, and a plain strong augmentation of them."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.arrays import IGNORE_INDEX, UInt8
from bench.check.outcomes import Broken
from bench.seeds import derive
from methods.base import Batch, Labelled, Method, Unlabelled

CLASSES = 4
SHIFT = 5
COUNT = 4  # of each kind of image in a batch


class ShiftedView:
    """Moves the image SHIFT pixels to the right (what enters on the left is no part of the weak view), then mirrors it."""

    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        """Move image and maps."""
        return image.roll(SHIFT, 3), *(self._move(values, border) for values, border in maps)

    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Darken the image, mirror it and the maps."""
        return (image * 0.9).flip(3), *(values.flip(2) for values in maps)

    def warp(self, maps: Tensor) -> Tensor:
        """Move maps (B, C, H, W) as both halves do."""
        return self._move(maps, 0).flip(3)

    @staticmethod
    def _move(maps: Tensor, fill: float) -> Tensor:
        moved = maps.roll(SHIFT, -1)
        moved[..., :SHIFT] = fill
        return moved


def scenes(count: int, seed: int, size: int = 32) -> tuple[Tensor, Tensor]:
    """Return images of four quadrants, each in the colour of its class, and their masks with some void pixels.

    Returns:
        Images (count, 3, size, size) in [0, 1], masks (count, size, size) int64.
    """
    generator = torch.Generator().manual_seed(seed)
    colours = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.9, 0.2], [0.2, 0.2, 0.9], [0.8, 0.8, 0.2]])
    quadrants = torch.randint(CLASSES, (count, 2, 2), generator=generator)
    label = quadrants.repeat_interleave(size // 2, 1).repeat_interleave(size // 2, 2)
    noise = torch.rand(count, 3, size, size, generator=generator)
    image = 0.8 * colours[label].permute(0, 3, 1, 2) + 0.2 * noise
    label[torch.rand(label.shape, generator=generator) < 0.05] = IGNORE_INDEX
    return image, label


def batch(step: int = 0, count: int = COUNT, iterations: int = 20, asks: Method | None = None) -> Batch:
    """Return the batch of a step: `count` labelled and `count` unlabelled scenes, and what else a method asks for."""
    views = (ShiftedView(),) * (1 if asks is None else asks.strong_views)
    image, label = scenes(count, 2 * step)
    weak, _ = scenes(count, 2 * step + 1)
    partner = Unlabelled(scenes(count, 1000 + step)[0], views) if asks is not None and asks.partner_batch else None
    unlabelled = Unlabelled(weak, views, partner=partner) if asks is None or asks.uses_unlabelled else None
    return Batch(step, iterations, derive(0, "batch", step), Labelled(image, label), unlabelled)


class ToyImages:
    """Scenes by id for the harness's loader; it refuses the masks of `unlabelled`."""

    labelled = tuple(f"labelled{i}" for i in range(8))
    unlabelled = tuple(f"unlabelled{i}" for i in range(8))

    def _scene(self, image_id: str) -> tuple[Tensor, Tensor]:
        return scenes(1, (self.labelled + self.unlabelled).index(image_id), size=48)

    def image(self, image_id: str) -> UInt8:
        """Return the image (H, W, 3)."""
        found: UInt8 = self._scene(image_id)[0][0].mul(255).byte().permute(1, 2, 0).contiguous().numpy()
        return found

    def mask(self, image_id: str) -> UInt8:
        """Return the mask (H, W) of a labelled image."""
        if image_id not in self.labelled:
            raise Broken(f"the mask of the unlabelled image {image_id} was asked for")
        found: UInt8 = self._scene(image_id)[1][0].byte().numpy()
        return found
