"""ClassMix, and CutMix and Cutout under the same recipe: a teacher's pseudo-labels on mixed images.

Source: Olsson et al., ClassMix, WACV 2021, as the ReCo authors reimplemented it for a baseline (``train_semisup.py``). The
ClassMix authors' own code differs: one weight for the whole batch instead of one per image (`weight_of`), void left out of
the draw of classes (`void_is_drawn`), the student evaluated (`predict_with`), no Nesterov momentum, a learning rate of
2.5e-4 with ten times that in the head, DeepLabV2 with COCO weights, another jitter. The grid ``classmix-cityscapes`` has
what options allow of it; see ``docs/differences.md``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from bench.registry import register
from methods.base import Batch
from methods.losses.segmentation import Reduction, WeightOf, pseudo_label_loss
from methods.mixing import Mix, mix
from methods.student import StudentOutput
from methods.teacher import TeacherConfig, TeacherMethod


class ClassMixConfig(TeacherConfig):
    """Hyperparameters of ClassMix. Defaults are those of the ReCo authors' code.

    Attributes:
        mix: how unlabelled images are mixed; ``none`` leaves a plain pseudo-label method.
        threshold: pixels of at least this confidence count for an image's weight; ReCo has 0.97, ClassMix 0.968.
        reduction: over which pixels the weighted loss is averaged: ``nonzero`` as in the authors' code, ``valid`` as in
            the papers' formulas (see ``pseudo_label_loss``).
        weight_of: ``image`` weights each image by its own share of confident pixels, as in ReCo's code; ``batch`` all by
            that of the batch, as in the ClassMix authors' code.
        void_is_drawn: whether void counts as a class in the draw of classes, as in ReCo's code; not in ClassMix's.
    """

    # This project's choice, around the published values; the papers report no search of them.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.7, 0.8, 0.9, 0.95, 0.97]},
        "unsupervised_weight": {"log_uniform": [0.1, 10.0]},
    }

    mix: Mix = "classmix"
    threshold: float = Field(default=0.97, ge=0, le=1)
    reduction: Reduction = "nonzero"
    weight_of: WeightOf = Field(default="image", json_schema_extra={"identity": "non-default"})
    void_is_drawn: bool = Field(default=True, json_schema_extra={"identity": "non-default"})


@register("method", "classmix")
class ClassMix(TeacherMethod):
    """Pseudo-labels of a moving-average teacher on images mixed by class, rectangle or hole."""

    Config = ClassMixConfig
    config: ClassMixConfig

    def mix(self, image: Tensor, label: Tensor, confidence: Tensor, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Mix as the config says."""
        return mix(self.config.mix, image, label, confidence, rng, self.config.void_is_drawn)

    def unsupervised(self, batch: Batch, output: StudentOutput) -> Tensor:
        """Return the cross-entropy on the mixed pseudo-labels, weighted by each image's share of confident pixels."""
        target = output.target
        return pseudo_label_loss(
            output.logits,
            target.label,
            target.confidence,
            self.config.threshold,
            self.config.reduction,
            self.config.weight_of,
        )
