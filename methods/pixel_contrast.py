"""Dense pixel contrast: every sampled pixel against every other one, on top of any base method.

Source: Wang et al., Exploring Cross-Image Pixel Contrast for Semantic Segmentation, ICCV 2021, equation 3, without its
memory bank; base, head and valid pixels are ReCo's. Memory grows with the square of the pixels: what ReCo's sampling avoids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from bench.registry import register
from bench.seeds import derive, rng
from bench.transfer import to_device
from methods.base import Batch
from methods.contrast import Contrast, ContrastConfig, Pixels
from methods.losses.pixel_contrast import pixel_contrast_loss


class PixelContrastConfig(ContrastConfig):
    """Hyperparameters of the contrast and of its base.

    Attributes:
        contrast_weight: factor on the contrast; the paper has 1.
        temperature: τ; the paper has 0.1, this project's choice is ReCo's, so that the two differ in the sampling alone.
        num_pixels: drawn from the valid pixels of a (micro-)batch.
    """

    # This project's choice.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.7, 0.8, 0.9, 0.95, 0.97]},
        "unsupervised_weight": {"log_uniform": [0.1, 10.0]},
        "contrast_weight": {"log_uniform": [0.1, 10.0]},
        "temperature": {"choice": [0.1, 0.3, 0.5, 1.0]},
    }

    contrast_weight: float = Field(default=1.0, ge=0)
    num_pixels: int = Field(default=1024, ge=2)


@register("method", "pixel_contrast")
class PixelContrast(Contrast[int]):
    """Dense contrast on sampled pixels, added to a supervised or semi-supervised base."""

    Config = PixelContrastConfig
    config: PixelContrastConfig

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the base's losses and the contrast."""
        return self.contrast_terms(batch, "contrast", self.config.contrast_weight)

    def drawing(self, batch: Batch) -> Callable[[], int]:
        """Return what gives the seed of the draw: how many numbers there are is known with the pixels."""
        seed = derive(batch.seed, "pixel contrast")
        return lambda: seed

    def contrast(self, pixels: Pixels, draws: int) -> Tensor:
        """Return the dense contrast, unweighted."""
        numbers = rng(draws, "pixels").random(pixels.label.numel(), dtype=np.float32)
        return pixel_contrast_loss(
            pixels.representation,
            pixels.label,
            pixels.valid,
            temperature=self.config.temperature,
            num_pixels=self.config.num_pixels,
            uniform=to_device(numbers, pixels.label.device),
        )
