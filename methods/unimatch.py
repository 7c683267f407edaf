"""UniMatch: FixMatch with two strong views, and a third that is perturbed between encoder and decoder.

Source: Yang, Qi, Feng, Zhang and Shi, Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation, CVPR
2023 (arXiv 2208.09910). See ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bench.errors import BenchError
from bench.phases import phase
from bench.registry import register
from bench.seeds import rng
from bench.transfer import to_device
from methods.base import Build, Network
from methods.fixmatch import FixMatch, FixMatchConfig, Seen


class UniMatchConfig(FixMatchConfig):
    """Hyperparameters of UniMatch. Defaults are those of the paper and the authors' code: λ and μ of 0.5.

    Attributes:
        strong_weight: factor on the mean of the two strong views' losses.
        feature_weight: factor on the loss of the perturbed features.
        feature_dropout: probability that a channel of the encoder's maps is dropped.
    """

    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        **FixMatchConfig.ranges,
        "feature_weight": {"log_uniform": [0.1, 10.0]},
        "feature_dropout": {"choice": [0.1, 0.3, 0.5, 0.7]},
    }

    strong_weight: float = Field(default=0.5, ge=0)
    feature_weight: float = Field(default=0.5, ge=0)
    feature_dropout: float = Field(default=0.5, ge=0, lt=1)


def drop_channels(maps: Sequence[Tensor], probability: float, draw: np.random.Generator) -> list[Tensor]:
    """Return feature maps (B, C, h, w) with whole channels of each image at 0, the others divided by their share."""
    found = []
    for values in maps:
        kept = draw.random(values.shape[:2], np.float32) >= probability
        scale = to_device(kept.astype(np.float32) / np.float32(1 - probability), values.device)
        found.append(values * scale[:, :, None, None].to(values.dtype))
    return found


def need_encoder(network: nn.Module, method: str) -> None:
    """Raise BenchError where a network offers no maps to perturb."""
    if not hasattr(network, "encode"):
        raise BenchError(
            f"method '{method}' perturbs what an encoder gives its decoder, and this network has no `encode`: "
            "use 'deeplabv3plus' or 'dpt', or give yours `encode` and `decode`"
        )


@register("method", "unimatch")
class UniMatch(FixMatch):
    """FixMatch with two strong views and a stream of perturbed features."""

    Config = UniMatchConfig
    config: UniMatchConfig
    strong_views = 2

    def __init__(self, config: UniMatchConfig, build: Build) -> None:
        super().__init__(config, build)
        need_encoder(self.student, "unimatch")

    def together(self, images: Tensor, sizes: Sequence[int], seed: int) -> Sequence[Tensor]:
        """Return the logits of labelled images and weak views, and those of the weak views with perturbed features.

        As in the authors' code the labelled images are perturbed as well, to no use but that they share in the decoder's
        batch-norm statistics.
        """
        network = cast(Network, self.student)
        maps = network.encode(images)
        perturbed = drop_channels(maps, self.config.feature_dropout, rng(seed, "features"))
        both = [torch.cat(pair) for pair in zip(maps, perturbed, strict=True)]
        labelled, weak, _, of_perturbed = torch.split(network.classify(network.decode(both)), [*sizes, *sizes])
        return labelled, weak, of_perturbed

    def more_terms(self, seen: Seen) -> dict[str, Tensor]:
        """Return the loss of the perturbed features, on the labels of the weak view."""
        (perturbed,) = seen.others
        with phase("loss unsupervised"):
            return {"features": self.config.feature_weight * self.loss_on(perturbed, seen.target)}
