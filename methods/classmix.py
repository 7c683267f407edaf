"""ClassMix, and CutMix and Cutout under the same recipe: a teacher's pseudo-labels on mixed images.

Source: Olsson et al., ClassMix, WACV 2021, as the ReCo authors reimplemented it for a baseline (``train_semisup.py``). The
ClassMix authors' own code differs; the grid `classmix-cityscapes` has of it what options give, and ``docs/differences.md``
names the rest.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from bench.registry import register
from methods.base import Batch
from methods.losses.segmentation import Reduction, Share, pseudo_label_loss
from methods.mixing import Boxes, Mix, mix
from methods.student import StudentOutput
from methods.teacher import TeacherConfig, TeacherMethod


class ClassMixConfig(TeacherConfig):
    """Hyperparameters of ClassMix. Defaults are those of the ReCo authors' code.

    Attributes:
        mix: how unlabelled images are mixed; ``none`` leaves a plain pseudo-label method.
        threshold: pixels of at least this confidence count for an image's weight; ReCo has 0.97, ClassMix 0.968.
        reduction: over which pixels the weighted loss is averaged: ``nonzero`` as in the ReCo authors' code, ``valid`` as
            in the papers' formulas and the ClassMix authors' code (see ``pseudo_label_loss``).
        share_of: whose confident pixels weigh the loss: each ``image``'s its own, or those of the (micro-)``batch``, one
            weight for all, as in the ClassMix authors' code.
        boxes: of `mix` cutmix and cutout: one of ``half`` the area, or those of ``unimatch`` or ``cps`` (see
            ``methods.mixing.draw_boxes``).
        draw_void: whether void counts as one of the classes of which half are pasted; the ClassMix authors' code leaves
            it out.
    """

    # This project's choice, around the published values; the papers report no search of them.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.7, 0.8, 0.9, 0.95, 0.97]},
        "unsupervised_weight": {"log_uniform": [0.1, 10.0]},
    }

    mix: Mix = "classmix"
    threshold: float = Field(default=0.97, ge=0, le=1)
    reduction: Reduction = "nonzero"
    share_of: Share = Field(default="image", json_schema_extra={"identity": "non-default"})
    boxes: Boxes = Field(default="half", json_schema_extra={"identity": "non-default"})
    draw_void: bool = Field(default=True, json_schema_extra={"identity": "non-default"})


@register("method", "classmix")
class ClassMix(TeacherMethod):
    """Pseudo-labels of a moving-average teacher on images mixed by class, rectangle or hole."""

    Config = ClassMixConfig
    config: ClassMixConfig

    def mix(self, image: Tensor, label: Tensor, confidence: Tensor, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Mix as the config says."""
        return mix(self.config.mix, image, label, confidence, rng, self.config.draw_void, self.config.boxes)

    def unsupervised(self, batch: Batch, output: StudentOutput) -> Tensor:
        """Return the cross-entropy on the mixed pseudo-labels, weighted by the share of confident pixels."""
        target, config = output.target, self.config
        return pseudo_label_loss(
            output.logits, target.label, target.confidence, config.threshold, config.reduction, config.share_of
        )
