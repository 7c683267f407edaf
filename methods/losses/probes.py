"""Losses to be measured alone: each on inputs of a given shape, beside a base that has the same inputs and no such loss.

A probe is what ``python bench.py memory`` sweeps. `loss` and `base` return scalars whose backward pass is measured along
with them; the extra memory is the difference of their peaks.
"""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from bench.config import Config
from bench.registry import register
from methods.losses.pixel_contrast import pixel_contrast_loss
from methods.losses.reco import draw, reco_loss


class MapConfig(Config):
    """Shape of the decoder's map on which a loss works.

    Attributes:
        batch: images.
        size: (height, width) of the map; the decoder's is a quarter of the crop.
        channels: of the representation.
        classes: K.
    """

    batch: PositiveInt = 8
    size: tuple[PositiveInt, PositiveInt] = (81, 81)
    channels: PositiveInt = 256
    classes: PositiveInt = 21


class Probe:
    """Base of probes. Subclasses register with ``@register("probe", NAME)``.

    Inputs are as a network would give them: a representation (B, D, h, w), stored channels last, that needs a gradient;
    labels (B, h, w) that hold every class.
    """

    Config: type[MapConfig] = MapConfig

    def __init__(self, config: MapConfig, device: torch.device) -> None:
        self.config = config
        generator = torch.Generator().manual_seed(0)
        shape = (config.batch, *config.size, config.channels)
        values = torch.rand(shape, generator=generator).to(device).permute(0, 3, 1, 2)
        self.representation = values.requires_grad_()
        positions = torch.arange(config.batch * config.size[0] * config.size[1], device=device)
        self.label = (positions % config.classes).view(config.batch, *config.size)
        self.valid = torch.ones_like(self.label, dtype=torch.bool)

    @property
    def pixels(self) -> int:
        """Pixels that the loss samples in one step, counted as often as they are drawn."""
        raise NotImplementedError

    def loss(self) -> Tensor:
        """Return the loss that is measured."""
        raise NotImplementedError

    def base(self) -> Tensor:
        """Return a loss that costs nothing but the gradient of its inputs."""
        return self.representation.mean()


class PixelContrastConfig(MapConfig):
    """Shape, and the number of pixels that are contrasted with each other.

    Attributes:
        num_pixels: drawn from the whole batch.
    """

    num_pixels: PositiveInt = 1024


@register("probe", "pixel_contrast")
class PixelContrastProbe(Probe):
    """Dense pixel-to-pixel contrast: every sampled pixel against every other one."""

    Config = PixelContrastConfig
    config: PixelContrastConfig

    @property
    def pixels(self) -> int:
        """The config's `num_pixels`."""
        return self.config.num_pixels

    def loss(self) -> Tensor:
        """Return the dense contrast of pixels in the middle of the map's order."""
        uniform = torch.linspace(0, 1, self.label.numel(), device=self.label.device)
        return pixel_contrast_loss(
            self.representation,
            self.label,
            self.valid,
            temperature=0.5,
            num_pixels=self.config.num_pixels,
            uniform=uniform,
        )


class ReCoProbeConfig(MapConfig):
    """Shape, and ReCo's sampling.

    Attributes:
        num_queries: per class.
        num_negatives: per query.
    """

    num_queries: PositiveInt = 256
    num_negatives: PositiveInt = 512


@register("probe", "reco")
class ReCoProbe(Probe):
    """ReCo's contrast between sampled queries and sampled keys."""

    Config = ReCoProbeConfig
    config: ReCoProbeConfig

    def __init__(self, config: ReCoProbeConfig, device: torch.device) -> None:
        super().__init__(config, device)
        shape = (config.batch, config.classes, *config.size)
        self.probability = torch.full(shape, 1 / config.classes, device=device)

    @property
    def pixels(self) -> int:
        """Classes times queries times (the query itself and its negative keys)."""
        config = self.config
        return config.classes * config.num_queries * (1 + config.num_negatives)

    def loss(self) -> Tensor:
        """Return ReCo's loss; every pixel is a hard query."""
        config = self.config
        draws = draw(config.classes, config.num_queries, config.num_negatives, seed=0, device=self.label.device)
        return reco_loss(
            self.representation,
            self.label,
            self.valid,
            self.probability,
            draws,
            strong_threshold=0.97,
            temperature=0.5,
        )
