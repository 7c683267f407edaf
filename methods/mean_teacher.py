"""Mean Teacher: the student's probabilities on the strong view follow the teacher's on the weak one.

Source: Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017; for segmentation as in French et al.,
Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC 2020 (without masks). Their code differs: no
ramp-up and no warm-up of the decay, the loss scaled by the share of confident pixels and divided by all pixels, batch-norm
buffers averaged, the teacher in training mode unless batch-norm is frozen. See ``docs/differences.md``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.registry import register
from methods.base import Batch
from methods.losses.segmentation import consistency
from methods.student import StudentOutput
from methods.teacher import TeacherConfig, TeacherMethod


class MeanTeacherConfig(TeacherConfig):
    """Hyperparameters of Mean Teacher.

    Attributes:
        ema_decay: 0.99, as the other methods of this benchmark; the Mean Teacher authors raise it to 0.999 after the
            ramp-up.
        unsupervised_weight: 1, with squared errors summed over classes, as in French et al.'s code. The Mean Teacher
            authors' code has up to 100 with the mean over 10 classes, and applies it to labelled images as well.
        ramp_up: length of the weight's sigmoid ramp-up as a fraction of all iterations; 0 is none. The Mean Teacher
            authors' code has 40,000 of 150,000 steps.
    """

    # This project's choice, around the values of both papers' codes.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "unsupervised_weight": {"log_uniform": [0.1, 100.0]},
        "ramp_up": {"choice": [0.0, 0.1, 0.27, 0.5]},
    }

    ramp_up: float = Field(default=0.27, ge=0, le=1)


def sigmoid_ramp(step: int, length: float) -> float:
    """Return exp(-5 (1 - t/T)^2) for t = `step` within the ramp of T = `length` steps, and 1 beyond it."""
    return math.exp(-5 * (1 - step / length) ** 2) if step < length else 1.0


@register("method", "mean_teacher")
class MeanTeacher(TeacherMethod):
    """Squared error between the softmax outputs of a student and its moving average."""

    Config = MeanTeacherConfig
    config: MeanTeacherConfig
    soft_targets: ClassVar[bool] = True

    def unsupervised(self, batch: Batch, output: StudentOutput) -> Tensor:
        """Return the squared error on the pixels that the weak view has, times the ramp-up of this step."""
        target = output.target
        assert target.scores is not None
        ramp = sigmoid_ramp(batch.step, self.config.ramp_up * batch.iterations)
        return ramp * consistency(output.logits, target.scores, target.label != IGNORE_INDEX)
