"""Stand-ins for what the loop gives a method: batches of learnable images and a simple strong augmentation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.registry import get
from bench.seeds import derive
from methods.base import Batch, Build, Labelled, Method, Unlabelled
from methods.networks.deeplabv3plus import DeepLabV3Plus, DeepLabV3PlusConfig

CLASSES = 4
SHIFT = 5


class FakeStrong:
    """Moves the image SHIFT pixels to the right (what enters on the left is no part of the weak view), then mirrors it."""

    def geometric(self, image: Tensor, *maps: tuple[Tensor, float]) -> tuple[Tensor, ...]:
        return image.roll(SHIFT, 3), *(self._move(values, border) for values, border in maps)

    def photometric(self, image: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        return (image * 0.9).flip(3), *(values.flip(2) for values in maps)

    def warp(self, maps: Tensor) -> Tensor:
        return self._move(maps, 0).flip(3)

    @staticmethod
    def _move(maps: Tensor, fill: float) -> Tensor:
        moved = maps.roll(SHIFT, -1)
        moved[..., :SHIFT] = fill
        return moved


def scenes(count: int, seed: int, size: int = 32) -> tuple[Tensor, Tensor]:
    """Return images of four quadrants, each in the colour of its class, and their masks with some void pixels."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.9, 0.2], [0.2, 0.2, 0.9], [0.8, 0.8, 0.2]])
    quadrants = torch.randint(CLASSES, (count, 2, 2), generator=generator)
    label = quadrants.repeat_interleave(size // 2, 1).repeat_interleave(size // 2, 2)
    noise = torch.rand(count, 3, size, size, generator=generator)
    image = 0.8 * colours[label].permute(0, 3, 1, 2) + 0.2 * noise
    label[torch.rand(label.shape, generator=generator) < 0.05] = IGNORE_INDEX
    return image, label


def batch(step: int = 0, count: int = 4, iterations: int = 20, asks: Method | None = None) -> Batch:
    """Return the batch of a step: `count` labelled and `count` unlabelled scenes, and what else a method asks for."""
    views = (FakeStrong(),) * (1 if asks is None else asks.strong_views)
    image, label = scenes(count, 2 * step)
    weak, _ = scenes(count, 2 * step + 1)
    partner = Unlabelled(scenes(count, 1000 + step)[0], views) if asks is not None and asks.partner_batch else None
    unlabelled = Unlabelled(weak, views, partner=partner)
    return Batch(step, iterations, derive(0, "batch", step), Labelled(image, label), unlabelled)


def network(seed: int = 0) -> DeepLabV3Plus:
    """Return the `tiny` network, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DeepLabV3Plus(DeepLabV3PlusConfig(backbone="tiny"), CLASSES)


def method(name: str, seed: int = 0, **options: Any) -> Method:
    """Return a registered method on the `tiny` network, in training mode."""
    cls = get("method", name)
    made: Method = cls(cls.Config(**options), Build(CLASSES, lambda: network(seed), seed))
    return made.train()
