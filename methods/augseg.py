"""AugSeg: a teacher's confident pseudo-labels on strongly augmented images, labelled patches pasted where it is unsure.

Source: Zhao, Yang, Long, Pi, Zhou and Wang, Augmentation Matters: A Simple-yet-Effective Approach to Semi-supervised
Semantic Segmentation, CVPR 2023 (arXiv 2212.04976): the paper, and the values in the authors' configuration files; their
code has no licence. The random operations are the augmentation `augseg`. See ``docs/differences.md``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.phases import phase
from bench.registry import register
from bench.seeds import rng
from bench.transfer import to_device
from methods.base import Batch, Labelled
from methods.ema import BufferPolicy
from methods.losses.segmentation import confident_loss
from methods.mixing import Boxes, box_mask, combine
from methods.student import StudentOutput, Target
from methods.teacher import OnlyExact, TeacherConfig, TeacherMethod


class AugSegConfig(TeacherConfig):
    """Hyperparameters of AugSeg. Defaults are those of the paper and the authors' configuration for Pascal VOC.

    Attributes:
        threshold: confidence from which a pseudo-label counts; the authors have 0 on Cityscapes.
        boxes: of both pastings (see ``methods.mixing.draw_boxes``).
        inject: whether patches of labelled images are pasted into those of which the teacher is unsure.
        ema_decay: 0.999; the authors have 0.996 on Cityscapes.
        teacher_buffers: the teacher runs in evaluation mode, with averaged batch-norm statistics.
        joint_forward: labelled and unlabelled images pass together.
        confidence: always exact; 8 bits are the ReCo authors' own.
    """

    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.0, 0.7, 0.8, 0.9, 0.95]},
        "unsupervised_weight": {"log_uniform": [0.1, 10.0]},
    }

    threshold: float = Field(default=0.95, ge=0, le=1)
    boxes: Boxes = "augseg"
    inject: bool = True
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    teacher_buffers: BufferPolicy = "average"
    joint_forward: bool = True
    confidence: OnlyExact = "exact"


def certainty(scores: Tensor, inside: Tensor) -> Tensor:
    """Return how sure a teacher is of each image, (B,) in [0, 1]: the mean over its pixels of max(p) · (1 - H(p)/log K).

    Args:
        scores: probabilities p (B, K, H, W).
        inside: (B, H, W) bool, the image's pixels.
    """
    entropy = torch.special.entr(scores).sum(dim=1) / math.log(max(scores.shape[1], 2))
    sure = scores.amax(dim=1) * (1 - entropy)
    return torch.where(inside, sure, 0).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)


@register("method", "augseg")
class AugSeg(TeacherMethod):
    """A mean teacher whose student sees CutMix of unlabelled images into which labelled patches were pasted."""

    Config = AugSegConfig
    config: AugSegConfig

    @torch.no_grad()
    def unlabelled_target(self, batch: Batch) -> Target:
        """Return the strong view of the unlabelled images, mixed, with the teacher's pseudo-labels."""
        unlabelled = batch.unlabelled
        assert unlabelled is not None, "the loader gives unlabelled images where uses_unlabelled is True"
        with phase("teacher"):
            scores, confidence, label = self.pseudo_labels(unlabelled)
        with phase("augment"):
            inside, strong = unlabelled.inside(), unlabelled.strong
            maps = (torch.where(inside, label, IGNORE_INDEX), IGNORE_INDEX), (confidence * inside, 0.0)
            views = list(strong.photometric(*strong.geometric(unlabelled.weak, *maps)))
            draw, sure = rng(batch.seed, "mix"), certainty(scores, inside)
            self.log("certainty", sure.mean())
            others = self.injected(views, batch.labelled, sure, draw) if self.config.inject else views
            mixed = combine(~self._boxes(views[1], draw), views, [values.roll(-1, 0) for values in others])
        image, label, confidence = mixed
        return Target(image, label, confidence)

    def injected(
        self, views: list[Tensor], labelled: Labelled, sure: Tensor, draw: np.random.Generator
    ) -> list[Tensor]:
        """Return images with a labelled patch pasted, the likelier the less the teacher is sure of them.

        Args:
            views: images (B, 3, H, W), pseudo-labels and confidence (B, H, W).
            labelled: where patches are from; each unlabelled image gets one at random, as evenly as it can be.
            sure: (B,), see :func:`certainty`.
            draw: host generator.
        """
        count, device = len(sure), sure.device
        order = np.resize(draw.permutation(len(labelled.image)), count)
        chosen = to_device(draw.random(count, np.float32), device) > sure
        patches = [x[to_device(order, device)] for x in (labelled.image, labelled.label)]
        known = (patches[1] != IGNORE_INDEX).float()
        inside = self._boxes(views[1], draw) & chosen[:, None, None]
        return combine(~inside, views, [*patches, known])

    def _boxes(self, like: Tensor, draw: np.random.Generator) -> Tensor:
        count, height, width = like.shape
        return box_mask(self.config.boxes, count, height, width, draw, like.device)

    def unsupervised(self, batch: Batch, output: StudentOutput) -> Tensor:
        """Return the cross-entropy of confident pixels over valid ones."""
        return confident_loss(output.logits, output.target.label, output.target.confidence, self.config.threshold)
