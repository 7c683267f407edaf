"""Losses to be measured alone, each on inputs of a given shape, as a network would give them.

A probe is what ``python bench.py memory`` sweeps. Its extra memory is the peak of the loss's forward and backward pass
beyond its inputs; gradients of the inputs count.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from bench.config import Config
from bench.registry import register
from methods.losses.mask_classification import Targets
from methods.losses.pixel_contrast import pixel_contrast_loss
from methods.losses.rc2l import info_nce, pairwise_dice, region_feature_contrast, region_features
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
    """Base of probes. Subclasses register with ``@register("probe", NAME)``; tensors among their attributes are inputs."""

    Config: ClassVar[type[MapConfig]] = MapConfig

    def __init__(self, config: MapConfig, device: torch.device) -> None:
        self.config = config

    @property
    def pixels(self) -> int:
        """Pixels that the loss samples in one step, counted as often as they are drawn."""
        raise NotImplementedError

    def loss(self) -> Tensor:
        """Return the loss that is measured, a scalar."""
        raise NotImplementedError


class PixelProbe(Probe):
    """Inputs of losses on pixels: a representation (B, D, h, w), stored channels last, and labels that hold every class."""

    def __init__(self, config: MapConfig, device: torch.device) -> None:
        super().__init__(config, device)
        generator = torch.Generator().manual_seed(0)
        shape = (config.batch, *config.size, config.channels)
        values = torch.rand(shape, generator=generator).to(device).permute(0, 3, 1, 2)
        self.representation = values.requires_grad_()
        positions = torch.arange(config.batch * config.size[0] * config.size[1], device=device)
        self.label = (positions % config.classes).view(config.batch, *config.size)
        self.valid = torch.ones_like(self.label, dtype=torch.bool)


class PixelContrastConfig(MapConfig):
    """Shape, and the number of pixels that are contrasted with each other.

    Attributes:
        num_pixels: drawn from the whole batch.
    """

    num_pixels: PositiveInt = 1024


@register("probe", "pixel_contrast")
class PixelContrastProbe(PixelProbe):
    """Dense pixel-to-pixel contrast: every sampled pixel against every other one."""

    Config = PixelContrastConfig
    config: PixelContrastConfig

    @property
    def pixels(self) -> int:
        """The config's `num_pixels`."""
        return self.config.num_pixels

    def loss(self) -> Tensor:
        """Return the dense contrast of the first pixels."""
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
class ReCoProbe(PixelProbe):
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


class RegionContrastConfig(MapConfig):
    """Shape, and the regions that are contrasted.

    Attributes:
        num_regions: per image, of the student and of the teacher alike.
        count_masks: count masks, the feature map and their reduction to similarities and region features too. They are
            linear in the map's pixels, and a mask classifier has them anyway.
    """

    num_regions: PositiveInt = 100
    count_masks: bool = False


@register("probe", "region_contrast")
class RegionContrastProbe(Probe):
    """RC²L's two contrasts, RMC and RFC, between the regions of a student and a teacher."""

    Config = RegionContrastConfig
    config: RegionContrastConfig

    def __init__(self, config: RegionContrastConfig, device: torch.device) -> None:
        super().__init__(config, device)
        batch, regions = config.batch, config.num_regions
        self.teacher_mask = torch.rand(batch, regions, *config.size, device=device)
        self.teacher = torch.rand(batch, regions, config.channels, device=device)
        self.weight = torch.ones(batch, *config.size, device=device)
        self.label = torch.arange(regions, device=device).remainder(config.classes).repeat(batch, 1)
        self.mask = torch.rand_like(self.teacher_mask).requires_grad_()
        self.map = torch.rand(batch, config.channels, *config.size, device=device).requires_grad_()
        if not config.count_masks:
            self.dice, self.student = (x.detach().requires_grad_() for x in self._reduce())
            del self.teacher_mask, self.weight, self.mask, self.map

    def _reduce(self) -> tuple[Tensor, Tensor]:
        return pairwise_dice(self.mask, self.teacher_mask, self.weight), region_features(self.map, self.mask)

    @property
    def pixels(self) -> int:
        """All pixels of the map: every one belongs to regions."""
        return self.config.batch * self.config.size[0] * self.config.size[1]

    def loss(self) -> Tensor:
        """Return RMC + RFC, positives being the regions of the same class."""
        dice, student = self._reduce() if self.config.count_masks else (self.dice, self.student)
        present = torch.ones_like(self.label, dtype=torch.bool)
        positive = self.label[:, :, None] == self.label[:, None]
        targets = Targets(self.label, dice.detach(), present, dice.detach())
        contrast = region_feature_contrast(student, self.teacher, self.label, targets, positive, 0.1)
        return info_nce(dice, positive, present, 0.1) + contrast
