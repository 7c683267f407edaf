"""U2PL: reliable pseudo-labels teach as labels, unreliable ones say what a pixel is not.

Source: Wang et al., Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels, CVPR 2022 (arXiv 2203.03884), made
from the paper. See ``docs/differences.md``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.phases import phase
from bench.registry import register
from bench.seeds import derive, rng
from bench.transfer import to_device
from methods.base import Batch, Build, Unlabelled
from methods.contrast import representation_head
from methods.ema import Ema
from methods.losses.memory_bank import MemoryBank
from methods.losses.reco import drawing
from methods.losses.segmentation import mean_where, resize
from methods.losses.u2pl import bar_at, by_class, contrast, entropy, reliable_loss
from methods.mixing import Boxes, Mix, mix
from methods.student import StudentMethod, StudentOutputs
from methods.teacher import OnlyExact, TeacherConfig, TeacherMethod


class U2PLConfig(TeacherConfig):
    """Hyperparameters of U2PL. Defaults are the paper's for Pascal VOC where nothing else is said.

    Attributes:
        confidence: always exact: reliable is what has little entropy, and no threshold is compared with it.
        joint_forward: labelled and unlabelled images pass together.
        supervised_only: share of the run that trains on labelled images alone: one epoch of 80; the authors have none on
            Cityscapes.
        cutmix_p: probability that a batch of unlabelled images is mixed.
        boxes: of CutMix (see ``methods.mixing.draw_boxes``).
        unreliable: share of unlabelled pixels, those of greatest entropy, whose labels don't count; it falls to 0.
        contrast_weight: factor on the contrastive loss.
        anchor_probability: probability of its class from which a pixel is an anchor.
        low_rank, high_rank: r_l and r_h, ranks of a class at a pixel between which the pixel is a negative of it (see
            ``methods.losses.u2pl.by_class``).
        temperature: of the contrastive loss.
        num_anchors, num_negatives: anchors per class, negatives of each.
        representation_dim: width of the representation head.
        bank_size: negatives that are kept of a class; the paper keeps 50,000 of the background.
        new_negatives: the most that one (micro-)batch adds to a class, this project's choice, so that shapes are fixed.
    """

    # This project's choice, around the published values.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "unsupervised_weight": {"log_uniform": [0.1, 10.0]},
        "contrast_weight": {"log_uniform": [0.01, 1.0]},
        "unreliable": {"choice": [0.1, 0.2, 0.3, 0.5]},
    }

    confidence: OnlyExact = "exact"
    joint_forward: bool = True
    supervised_only: float = Field(default=1 / 80, ge=0, lt=1)
    cutmix_p: float = Field(default=0.5, ge=0, le=1)
    boxes: Boxes = "half"
    unreliable: float = Field(default=0.2, ge=0, lt=1)
    contrast_weight: float = Field(default=0.1, ge=0)
    anchor_probability: float = Field(default=0.3, ge=0, lt=1)
    low_rank: int = Field(default=3, ge=1)
    high_rank: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.5, gt=0)
    num_anchors: int = Field(default=256, ge=1)
    num_negatives: int = Field(default=50, ge=1)
    representation_dim: int = Field(default=256, ge=1)
    bank_size: int = Field(default=30_000, ge=1)
    new_negatives: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _ranks_span_some(self) -> U2PLConfig:
        if self.low_rank >= self.high_rank:
            raise ValueError(f"low_rank must be below high_rank, and {self.low_rank} isn't below {self.high_rank}")
        return self


@register("method", "u2pl")
class U2PL(TeacherMethod):
    """A mean teacher's reliable labels, and a contrast with a bank of unreliable pixels."""

    Config = U2PLConfig
    config: U2PLConfig
    ignores_padding = True

    def __init__(self, config: U2PLConfig, build: Build) -> None:
        super().__init__(config, build)
        self.head = representation_head(int(self.student.feature_channels), config.representation_dim)  # type: ignore[arg-type]
        self.teacher_head = Ema(self.head, config.ema_decay, config.teacher_buffers)
        self.bank = MemoryBank(build.num_classes, config.bank_size, config.representation_dim)

    def mix(self, image: Tensor, label: Tensor, confidence: Tensor, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Mix all images of some batches, and none of the others."""
        kind: Mix = "cutmix" if rng.random() < self.config.cutmix_p else "none"
        return mix(kind, image, label, confidence, rng, boxes=self.config.boxes)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the supervised loss, and but at the beginning those on reliable and on unreliable pseudo-labels."""
        if batch.step < self.config.supervised_only * batch.iterations:
            return StudentMethod.terms(self, batch, StudentMethod.outputs(self, batch))
        return super().losses(batch)

    def teacher_scores(self, unlabelled: Unlabelled) -> Tensor:
        """Return the teacher's probabilities on the weak view, in evaluation mode, as in the authors' code."""
        self.teacher.model.eval()
        scores = super().teacher_scores(unlabelled)
        self.teacher.train(self.training)
        return scores

    def terms(self, batch: Batch, outputs: StudentOutputs) -> dict[str, Tensor]:
        """Return the three terms of what the student saw."""
        labelled, unlabelled, config = outputs.labelled, outputs.unlabelled, self.config
        assert unlabelled is not None
        terms = StudentMethod.terms(self, batch, outputs)
        both = [output.target for output in (labelled, unlabelled)]
        with phase("teacher"), torch.no_grad():
            features = self.teacher.model.features(torch.cat([one.image for one in both]))  # type: ignore[operator]
            logits, targets = self.teacher.model.classify(features), self.teacher_head(features)  # type: ignore[operator]
        with phase("loss unsupervised"):
            label, share = unlabelled.target.label, config.unreliable * (1 - batch.step / batch.iterations)
            doubt = entropy(resize(logits[len(both[0].image) :], label.shape[1:]).softmax(1))
            bar = bar_at(doubt, label != IGNORE_INDEX, share)
            kept = (doubt < bar) | (share == 0)
            self.log("reliable", mean_where(kept.float(), label != IGNORE_INDEX))
            of_labels = reliable_loss(resize(unlabelled.logits, label.shape[1:]), label, kept)
        with phase("loss contrast"):
            rows = self.head(torch.cat((labelled.features, unlabelled.features)))
            at_features = [nearest(one.label, rows.shape[2:]) for one in both]
            annotated = torch.cat([torch.full_like(at, i == 0, dtype=torch.bool) for i, at in enumerate(at_features)])
            sure = torch.cat((torch.ones_like(at_features[0]), nearest(kept, rows.shape[2:]))).bool()
            pixels = by_class(
                flat(logits.float().softmax(1)),
                torch.cat(at_features).flatten(),
                sure.flatten(),
                annotated.flatten(),
                least=config.anchor_probability,
                low=config.low_rank,
                high=config.high_rank,
            )
            contrasted = self.contrasted(flat(rows), flat(targets), pixels.anchors, pixels.negatives, batch.seed)
        unsupervised = config.unsupervised_weight * of_labels
        return {**terms, "unsupervised": unsupervised, "contrast": config.contrast_weight * contrasted}

    def contrasted(self, rows: Tensor, targets: Tensor, anchors: Tensor, negatives: Tensor, seed: int) -> Tensor:
        """Add negatives to the bank, and return the contrastive loss against it."""
        config, device = self.config, rows.device
        draws = drawing(
            self.num_classes, config.num_anchors, config.num_negatives, seed=derive(seed, "u2pl"), device=device
        )
        order = to_device(rng(seed, "order").random(len(rows), np.float32), device)
        self.bank.add(targets, negatives, order, config.new_negatives)
        return contrast(rows, targets, anchors, self.bank, order, draws()[1].float(), config.temperature)

    def after_step(self, step: int) -> None:
        """Move the teacher and its head."""
        super().after_step(step)
        self.teacher_head.update(self.head, step)


def flat(maps: Tensor) -> Tensor:
    """Return maps (B, C, h, w) as rows (B·h·w, C)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def nearest(maps: Tensor, size: torch.Size) -> Tensor:
    """Return integer or bool maps (B, H, W) at a smaller size, (B, h, w) int64, by nearest neighbour."""
    return F.interpolate(maps[:, None].float(), size, mode="nearest")[:, 0].long()
