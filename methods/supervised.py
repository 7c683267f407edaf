"""Supervised training on the labelled images alone: the baseline."""

from __future__ import annotations

from pydantic import Field

import bench.config
from bench.registry import register
from methods.student import StudentMethod


class SupervisedConfig(bench.config.Config):
    """Hyperparameters of supervised training.

    Attributes:
        batch_factor: factor on the recipe's labelled batch; the ReCo authors double it in place of unlabelled images.
    """

    batch_factor: int = Field(default=2, ge=1)


@register("method", "supervised")
class Supervised(StudentMethod):
    """Cross-entropy on the labelled images only."""

    Config = SupervisedConfig
    uses_unlabelled = False

    @staticmethod
    def labelled_batch_factor(config: bench.config.Config) -> int:
        """Return the config's `batch_factor`."""
        assert isinstance(config, SupervisedConfig)
        return config.batch_factor
