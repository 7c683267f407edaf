"""The section that asks what a run's predictor would teach."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from bench.config import Config


class PseudoLabels(Config):
    """A diagnosis at each evaluation: labels that the predictor gives unlabelled training images, beside their masks.

    The masks are read by the diagnosis alone; training, selection and scores never see them.

    Attributes:
        images: how many, spread evenly over the unlabelled ones that have a mask.
        threshold: probability from which a pixel counts as confident.
    """

    images: PositiveInt = 100
    threshold: float = Field(default=0.95, ge=0, le=1)
