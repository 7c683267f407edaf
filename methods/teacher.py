"""What methods with a student and a moving-average teacher share: pseudo-labels on the weak view, training on the strong.

A subclass says how the unlabelled images are mixed (:meth:`TeacherMethod.mix`) and which loss the student has on them
(:meth:`TeacherMethod.unsupervised`). Source: ``train_semisup.py`` in the ReCo authors' repository.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bench.arrays import IGNORE_INDEX
from bench.config import Config
from bench.phases import phase
from bench.seeds import rng
from methods.base import Batch, Build, Unlabelled
from methods.ema import BufferPolicy, Ema
from methods.losses.segmentation import resize
from methods.predictors import student_and_teacher
from methods.student import StudentMethod, StudentOutput, StudentOutputs, Target, run_student

# The type of `confidence` in the configs of methods that have no use for an 8-bit one: they refuse it.
OnlyExact = Annotated[Literal["exact"], Field(json_schema_extra={"identity": "non-default"})]


class TeacherConfig(Config):
    """Hyperparameters of every method with a teacher. Defaults are those of the ReCo authors' code.

    Attributes:
        ema_decay: decay of the teacher's moving average, after a warm-up of min(1 - 1/(t + 1), decay); ReCo and ClassMix
            have 0.99.
        teacher_buffers: where the teacher's batch-norm statistics come from (see ``methods.ema.Ema``); the authors have
            ``own``. The papers don't say.
        predict_with: the network that is evaluated; the authors evaluate the teacher. `mean` is that of both networks'
            probabilities.
        joint_forward: one forward pass of the student over labelled and unlabelled images together, which mixes their
            batch-norm statistics; the authors run it twice.
        unsupervised_weight: factor on the unsupervised loss; ReCo and ClassMix have 1.
        confidence: `exact`, or `8bit` as in the ReCo authors' code, which passes it through an 8-bit image: it is cut down
            to a multiple of 1/255, so that thresholds of 0.97 and 0.70 act as 0.9725 and 0.7020.
    """

    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    teacher_buffers: BufferPolicy = "own"
    predict_with: Literal["teacher", "student", "mean"] = "teacher"
    joint_forward: bool = False
    unsupervised_weight: float = Field(default=1.0, ge=0)
    confidence: Literal["exact", "8bit"] = Field(default="exact", json_schema_extra={"identity": "non-default"})


def in_8_bits(confidence: Tensor) -> Tensor:
    """Return a confidence in [0, 1] cut down to a multiple of 1/255.

    Source: ``batch_transform`` of the ReCo authors' ``build_data.py``, through PIL's 8-bit images and back.
    """
    return confidence.mul(255).floor().div(255)


def with_visible_labels(scores: Tensor, labels: Tensor | None) -> Tensor:
    """Return probabilities (B, K, H, W) that are certain of the visible labels (B, H, W), and unchanged where they are 255.

    Source: ``train_semisup_partial.py`` of the ReCo authors' code, which writes them into pseudo-label and confidence.
    """
    if labels is None:
        return scores
    known = (labels != IGNORE_INDEX)[:, None]
    classes = torch.arange(scores.shape[1], device=scores.device)[:, None, None]
    return torch.where(known, (labels[:, None] == classes).to(scores.dtype), scores)


class TeacherMethod(StudentMethod):
    """A student, and a teacher that follows it.

    Attributes:
        soft_targets: True gives :meth:`unsupervised` the teacher's probabilities in the strong view's frame.
        ignores_padding: whether what fills a weak view beyond its image is ignored; the ReCo authors label it as any other.
    """

    config: TeacherConfig
    soft_targets: ClassVar[bool] = False
    ignores_padding: ClassVar[bool] = False

    def __init__(self, config: TeacherConfig, build: Build) -> None:
        super().__init__(config, build)
        self.teacher = Ema(self.student, config.ema_decay, config.teacher_buffers)

    def mix(self, image: Tensor, label: Tensor, confidence: Tensor, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Mix the images of the strong view between its geometric and its photometric half. By default not at all."""
        return image, label, confidence

    def unsupervised(self, batch: Batch, output: StudentOutput) -> Tensor:
        """Return the loss on unlabelled images, unweighted (scalar)."""
        raise NotImplementedError

    def teacher_scores(self, unlabelled: Unlabelled) -> Tensor:
        """Return the teacher's probabilities on the weak view, (B, K, H, W) float32."""
        with torch.inference_mode():
            logits = self.teacher(unlabelled.weak)
        return resize(logits, unlabelled.weak.shape[2:]).softmax(dim=1)

    def pseudo_labels(self, unlabelled: Unlabelled) -> tuple[Tensor, Tensor, Tensor]:
        """Return the teacher's probabilities (B, K, H, W), sure of visible labels, their maximum and its class (B, H, W)."""
        scores = with_visible_labels(self.teacher_scores(unlabelled), unlabelled.visible_labels)
        return (scores, *scores.max(dim=1))

    @torch.no_grad()
    def unlabelled_target(self, batch: Batch) -> Target:
        """Return the strong view of the unlabelled images with the teacher's pseudo-labels."""
        unlabelled = batch.unlabelled
        assert unlabelled is not None, "the loader gives unlabelled images where uses_unlabelled is True"
        with phase("teacher"):
            scores, confidence, label = self.pseudo_labels(unlabelled)
            if self.config.confidence == "8bit":
                confidence = in_8_bits(confidence)
            if self.ignores_padding:
                inside = unlabelled.inside()
                label, confidence = torch.where(inside, label, IGNORE_INDEX), confidence * inside
        with phase("augment"):
            maps = ((label, IGNORE_INDEX), (confidence, 0.0))
            image, label, confidence = unlabelled.strong.geometric(unlabelled.weak, *maps)
            mixed = self.mix(image, label, confidence, rng(batch.seed, "mix"))
            image, label, confidence = unlabelled.strong.photometric(*mixed)
            return Target(image, label, confidence, unlabelled.strong.warp(scores) if self.soft_targets else None)

    def outputs(self, batch: Batch) -> StudentOutputs:
        """Run the teacher and then the student on a batch."""
        unlabelled, labelled = self.unlabelled_target(batch), self.labelled_target(batch)
        if not self.config.joint_forward:
            return StudentOutputs(run_student(self.student, labelled), run_student(self.student, unlabelled))
        both = run_student(
            self.student, Target(torch.cat((labelled.image, unlabelled.image)), labelled.label, labelled.confidence)
        )
        count = len(labelled.image)
        return StudentOutputs(
            StudentOutput(labelled, both.features[:count], both.logits[:count]),
            StudentOutput(unlabelled, both.features[count:], both.logits[count:]),
        )

    def terms(self, batch: Batch, outputs: StudentOutputs) -> dict[str, Tensor]:
        """Return the supervised and the weighted unsupervised term."""
        assert outputs.unlabelled is not None
        with phase("loss unsupervised"):
            unsupervised = self.config.unsupervised_weight * self.unsupervised(batch, outputs.unlabelled)
        return {**super().terms(batch, outputs), "unsupervised": unsupervised}

    def after_step(self, step: int) -> None:
        """Move the teacher."""
        self.teacher.update(self.student, step)

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """Teacher, student and their mean; the config says which one predicts."""
        return student_and_teacher(self.student, self.teacher.model, self.config.predict_with)
