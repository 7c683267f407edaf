"""PrevMatch without its leak: UniMatch, and the same losses on the labels of a random ensemble of earlier students.

Source: Shin, Park, Kim, Yun, Park and Han, Revisiting and Maximizing Temporal Knowledge in Semi-Supervised Semantic
Segmentation (arXiv 2405.20610). The authors store a student where its score on the evaluated images has improved, so that
these steer training; here students are stored by step. See ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.arrays import IGNORE_INDEX
from bench.phases import phase
from bench.registry import register
from bench.seeds import rng
from methods.base import Batch, Build, Unlabelled
from methods.ema import Ema
from methods.fixmatch import Seen, labelled_by
from methods.losses.segmentation import confident_loss, mean_where
from methods.student import Target
from methods.unimatch import UniMatch, UniMatchConfig


class PrevMatchConfig(UniMatchConfig):
    """Hyperparameters of PrevMatch. Defaults are the authors' for Pascal VOC where nothing else is said.

    Attributes:
        previous_threshold: confidence from which a label of earlier students counts; the authors have 0 on Cityscapes.
        stored: the latest students that are kept; they are part of every checkpoint.
        ensemble: at most so many of them, a random number, label a batch.
        store_every: share of the run after which a student is stored again: this project's choice, four of the 80 epochs.
            The authors store one after each epoch that is the best so far.
    """

    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        **UniMatchConfig.ranges,
        "previous_threshold": {"choice": [0.0, 0.7, 0.8, 0.9, 0.95]},
        "store_every": {"choice": [0.0125, 0.025, 0.05, 0.1]},
    }

    previous_threshold: float = Field(default=0.9, ge=0, le=1)
    stored: int = Field(default=8, ge=1, le=64)
    ensemble: int = Field(default=3, ge=1)
    store_every: float = Field(default=0.05, gt=0, le=1)


def ramp(step: int, iterations: int) -> float:
    """Return λ, the weight of earlier students: from 0 to 1 in the first half of the run, and back to 0 in the second."""
    return 1 - abs(2 * step / iterations - 1)


@register("method", "prevmatch")
class PrevMatch(UniMatch):
    """UniMatch, taught by its earlier selves as well."""

    Config = PrevMatchConfig
    config: PrevMatchConfig

    def __init__(self, config: PrevMatchConfig, build: Build) -> None:
        super().__init__(config, build)
        # With a decay of 0 they are copies, statistics included, and always in evaluation mode.
        self.previous = nn.ModuleList(Ema(self.student, 0.0, "copy") for _ in range(config.stored))
        self.interval = 1

    def stored_at(self, step: int) -> int:
        """Return how many students have been stored before a step."""
        return step // self.interval

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return UniMatch's losses, and those on the labels of earlier students, divided by 2 + λ."""
        self.interval = max(round(batch.iterations * self.config.store_every), 1)
        return super().losses(batch)

    def divisor(self, batch: Batch) -> float:
        """Return 2 + λ, or 2 as long as there is no earlier student."""
        return 2 + (ramp(batch.step, batch.iterations) if self.stored_at(batch.step) else 0)

    def more_terms(self, seen: Seen) -> dict[str, Tensor]:
        """Return UniMatch's, and the same losses on the labels of earlier students."""
        terms, batch = super().more_terms(seen), seen.batch
        unlabelled, config = batch.unlabelled, self.config
        assert unlabelled is not None
        if not self.stored_at(batch.step):
            return terms
        weight = ramp(batch.step, batch.iterations)
        with phase("teacher"):
            target, partner = self.labelled_by_previous(batch, unlabelled)
        with phase("augment"):
            views = [self.strong_view(number, target, partner, batch) for number in range(self.strong_views)]
        with phase("loss previous"):
            (perturbed,) = seen.others
            strong = [self.loss_on_previous(x, view) for x, view in zip(seen.of_views, views, strict=True)]
            terms["previous_strong"] = weight * config.strong_weight * torch.stack(strong).mean()
            terms["previous_features"] = weight * config.feature_weight * self.loss_on_previous(perturbed, target)
        sure = (target.confidence >= config.previous_threshold).float()
        self.log("previous_confident", mean_where(sure, target.label != IGNORE_INDEX))
        return terms

    def loss_on_previous(self, logits: Tensor, target: Target) -> Tensor:
        """Return the cross-entropy of pixels of which earlier students are confident, over valid ones."""
        return confident_loss(logits, target.label, target.confidence, self.config.previous_threshold)

    @torch.no_grad()
    def labelled_by_previous(self, batch: Batch, unlabelled: Unlabelled) -> tuple[Target, Target | None]:
        """Return the weak view and that of the partner batch, labelled by some earlier students.

        Their logits are added up with weights from Dirichlet(1, …, 1).
        """
        draw, config = rng(batch.seed, "previous"), self.config
        available = min(self.stored_at(batch.step), config.stored)
        count = min(int(draw.integers(1, config.ensemble + 1)), available)
        chosen: Sequence[int] = draw.permutation(available)[:count].tolist()
        weights: Sequence[float] = draw.dirichlet([1.0] * count).tolist()
        batches = [one for one in (unlabelled, unlabelled.partner) if one is not None]
        images = torch.cat([one.weak for one in batches])
        logits = [weight * self.previous[i](images).float() for i, weight in zip(chosen, weights, strict=True)]
        parts = torch.split(torch.stack(logits).sum(0), [len(one.weak) for one in batches])
        found = [labelled_by(part, one) for part, one in zip(parts, batches, strict=True)]
        return found[0], found[1] if len(found) > 1 else None

    def after_step(self, step: int) -> None:
        """Store the student, in place of the one that was stored first, where it is time."""
        if (step + 1) % self.interval == 0:
            place = (self.stored_at(step + 1) - 1) % self.config.stored
            previous = self.previous[place]
            assert isinstance(previous, Ema)
            previous.update(self.student, step)
