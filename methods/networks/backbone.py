"""What a backbone is: normalised image to feature maps at four strides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.base import IMAGENET_MEAN, IMAGENET_STD


class Backbone(nn.Module):
    """Image (B, 3, H, W) in [0, 1] to the outputs of four stages, at strides 4, 8, 16, 32 or the output stride.

    Attributes:
        channels: channels of each stage's output.
        fixed: modules that stay in evaluation mode (see ``methods.networks.fixed``).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: tuple[int, ...],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.fixed: tuple[nn.Module, ...] = ()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' outputs of a normalised image, finest first."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four stages' outputs, finest first."""
        return self.maps((image - self.mean) / self.std)

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; what is fixed stays in evaluation mode."""
        super().train(mode)
        for module in self.fixed:
            module.eval()
        return self


class Stages(Backbone):
    """A backbone of four modules, each of which takes the output of the one before."""

    def __init__(self, stages: Sequence[nn.Module], channels: tuple[int, ...]) -> None:
        super().__init__(channels)
        self.stages = nn.ModuleList(stages)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' outputs of a normalised image, finest first."""
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs
