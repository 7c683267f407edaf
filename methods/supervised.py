"""Supervised training on the labelled images alone: the baseline."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

import bench.config
from bench.registry import register
from methods.base import Build
from methods.ema import Ema
from methods.student import StudentMethod


class SupervisedConfig(bench.config.Config):
    """Hyperparameters of supervised training.

    Attributes:
        batch_factor: factor on the recipe's labelled batch; the ReCo authors double it in place of unlabelled images.
        average_decay: decay of a moving average of the network, buffers included, that is scored in its place; null scores
            the network itself. Methods with a teacher score an average: beside them only one is a fair baseline.
    """

    batch_factor: int = Field(default=2, ge=1)
    average_decay: Annotated[float | None, Field(ge=0, lt=1, json_schema_extra={"identity": "non-default"})] = None


@register("method", "supervised")
class Supervised(StudentMethod):
    """Cross-entropy on the labelled images only."""

    Config = SupervisedConfig
    config: SupervisedConfig
    uses_unlabelled = False

    def __init__(self, config: SupervisedConfig, build: Build) -> None:
        super().__init__(config, build)
        decay = config.average_decay
        self.average = None if decay is None else Ema(self.student, decay, "average")

    @staticmethod
    def labelled_batch_factor(config: bench.config.Config) -> int:
        """Return the config's `batch_factor`."""
        assert isinstance(config, SupervisedConfig)
        return config.batch_factor

    def after_step(self, step: int) -> None:
        """Move the average, where there is one."""
        if self.average is not None:
            self.average.update(self.student, step)

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """The average, where there is one, and the network, which is called as in methods with a teacher."""
        average = {} if self.average is None else {"average": self.average.model}
        return {**average, "student": self.student}
