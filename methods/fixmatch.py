"""FixMatch for segmentation: confident pseudo-labels of the weak view teach the strong view, CutMix included.

Source: Sohn et al., FixMatch, NeurIPS 2020 (arXiv 2001.07685), in the version for segmentation that Yang et al. compare with
in Revisiting Weak-to-Strong Consistency, CVPR 2023 (arXiv 2208.09910), section 3.1. There is no teacher: the student labels
its own weak view. See ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.config import Config
from bench.phases import phase
from bench.registry import register
from bench.seeds import rng
from methods.base import Batch, Build, StrongAugment, Unlabelled
from methods.losses.segmentation import confident_loss, cross_entropy, mean_where, resize
from methods.mixing import Boxes, box_mask, combine
from methods.student import StudentMethod, Target
from methods.teacher import with_visible_labels


class FixMatchConfig(Config):
    """Hyperparameters of FixMatch. Defaults are those of UniMatch's paper and code for Pascal VOC.

    Attributes:
        threshold: τ, confidence from which a pseudo-label counts; the authors have 0 on Cityscapes, 0.95 elsewhere.
        boxes: of CutMix between unlabelled images (see ``methods.mixing.draw_boxes``).
        partner: what a box shows: an image of a second unlabelled `batch`, labelled by the student in evaluation mode, as in
            the authors' code; or the next image of the same batch (`roll`), which saves that pass and those images.
        strong_weight: factor on the loss of the strong views. The whole loss is halved, as in the paper.
    """

    # This project's choice, around the published values.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.0, 0.7, 0.8, 0.9, 0.95, 0.97]},
        "strong_weight": {"log_uniform": [0.1, 10.0]},
    }

    threshold: float = Field(default=0.95, ge=0, le=1)
    boxes: Boxes = "unimatch"
    partner: Literal["batch", "roll"] = "batch"
    strong_weight: float = Field(default=1.0, ge=0)


@register("method", "fixmatch")
class FixMatch(StudentMethod):
    """The student's confident pseudo-labels on the weak view, as targets of the strong view."""

    Config = FixMatchConfig
    config: FixMatchConfig

    def __init__(self, config: FixMatchConfig, build: Build) -> None:
        super().__init__(config, build)
        self.partner_batch = config.partner == "batch"

    def together(self, images: Tensor, sizes: Sequence[int], seed: int) -> Sequence[Tensor]:
        """Return the student's logits on labelled images and on weak views, in one pass; a subclass may add others.

        Args:
            images: both, one after the other, (B, 3, H, W).
            sizes: how many of each.
            seed: of this (micro-)batch.
        """
        return torch.split(self.student(images), list(sizes))

    def more_terms(self, target: Target, others: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the losses, weighted but for the half, of what :meth:`together` gave besides."""
        return {}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the supervised loss, that of the strong views, and those of :meth:`more_terms`, halved."""
        labelled, unlabelled, config = batch.labelled, batch.unlabelled, self.config
        assert unlabelled is not None, "the loader gives unlabelled images where uses_unlabelled is True"
        partner = self.partner_target(unlabelled.partner)
        with phase("student"):
            images, sizes = torch.cat((labelled.image, unlabelled.weak)), (len(labelled.image), len(unlabelled.weak))
            of_labelled, of_weak, *others = self.together(images, sizes, batch.seed)
        with phase("augment"):
            target = labelled_by(of_weak.detach(), unlabelled)
            views = [self.strong_view(number, target, partner, batch) for number in range(self.strong_views)]
        with phase("student"):
            of_views = self.student(torch.cat([view.image for view in views])).chunk(len(views))
        with phase("loss supervised"):
            terms = {"supervised": cross_entropy(of_labelled, labelled.label, self.ohem)}
        with phase("loss unsupervised"):
            strong = [self.loss_on(logits, view) for logits, view in zip(of_views, views, strict=True)]
            terms["strong"] = config.strong_weight * torch.stack(strong).mean()
            terms |= self.more_terms(target, others)
        self.log("confident", mean_where((target.confidence >= config.threshold).float(), target.label != IGNORE_INDEX))
        return {name: term / 2 for name, term in terms.items()}

    def loss_on(self, logits: Tensor, target: Target) -> Tensor:
        """Return the cross-entropy of confident pixels over valid ones, unweighted."""
        return confident_loss(logits, target.label, target.confidence, self.config.threshold)

    @torch.no_grad()
    def partner_target(self, partner: Unlabelled | None) -> Target | None:
        """Return the images to mix with, labelled by the student in evaluation mode; None where there is no such batch."""
        if partner is None:
            return None
        with phase("teacher"):
            logits = self.student.eval()(partner.weak)
            self.student.train(self.training)
            torch.clear_autocast_cache()  # older releases of torch keep weights there that were cast without gradients
            return labelled_by(logits, partner)

    @torch.no_grad()
    def strong_view(self, number: int, target: Target, partner: Target | None, batch: Batch) -> Target:
        """Return the strong view of a number with its pseudo-labels, boxes of the partner's strong view pasted."""
        unlabelled = batch.unlabelled
        assert unlabelled is not None
        own = strengthen(target, unlabelled.strong_views[number])
        if partner is None or unlabelled.partner is None:
            other: Sequence[Tensor] = [values.roll(-1, 0) for values in own]
        else:
            other = strengthen(partner, unlabelled.partner.strong_views[number])
        count, height, width = own[1].shape
        boxes = box_mask(self.config.boxes, count, height, width, rng(batch.seed, "mix", number), own[1].device)
        return Target(*combine(~boxes, own, other))


@torch.no_grad()
def labelled_by(logits: Tensor, unlabelled: Unlabelled) -> Target:
    """Return weak views with the labels that logits (B, K, h, w) give them, those that are visible included.

    What fills a view beyond its image is ignored, and its confidence 0.
    """
    scores = resize(logits, unlabelled.weak.shape[2:]).softmax(dim=1)
    confidence, label = with_visible_labels(scores, unlabelled.visible_labels).max(dim=1)
    inside = unlabelled.inside()
    return Target(unlabelled.weak, torch.where(inside, label, IGNORE_INDEX), confidence * inside)


def strengthen(target: Target, view: StrongAugment) -> tuple[Tensor, ...]:
    """Return image, label and confidence of a weak view as a strong augmentation makes them."""
    maps = (target.label, IGNORE_INDEX), (target.confidence, 0.0)
    return view.photometric(*view.geometric(target.image, *maps))
