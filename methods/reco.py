"""ReCo: regional contrast between a few hard pixels and keys of other classes, on top of any base method.

Source: Liu, Zhi, Johns and Davison, Bootstrapping Semantic Segmentation with Regional Contrast, ICLR 2022, and
``train_semisup.py``, ``train_sup.py`` of the authors' code. The representation head exists in training only: the
predictor is the base method's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.arrays import IGNORE_INDEX
from bench.registry import register
from bench.seeds import derive
from methods.base import Batch
from methods.contrast import Contrast, ContrastConfig, Pixels
from methods.losses.reco import Draws, KeySampling, QuerySampling, drawing, reco_loss
from methods.losses.segmentation import resize
from methods.student import StudentOutput, Target
from methods.teacher import with_visible_labels


class ReCoConfig(ContrastConfig):
    """Hyperparameters of ReCo and of its base. Defaults are those of the authors' code, which agree with the paper.

    Attributes:
        temperature: τ, of the contrast and of the draw of the negatives' classes.
        reco_weight: factor on ReCo's loss.
        strong_threshold: δ_s; a valid pixel is a hard query where the student gives its class less than this.
        num_queries: queries per class.
        num_negatives: negative keys per query.
        query: which valid pixels are queries (for the ablation of the sampling).
        key: how the negatives' classes are drawn: by similarity (`active`) or uniformly (`random`).
    """

    # This project's choice, around the published values; the papers report no search of them.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.7, 0.8, 0.9, 0.95, 0.97]},
        "unsupervised_weight": {"log_uniform": [0.1, 10.0]},
        "reco_weight": {"log_uniform": [0.1, 10.0]},
        "temperature": {"choice": [0.1, 0.3, 0.5, 1.0]},
    }

    reco_weight: float = Field(default=1.0, ge=0)
    strong_threshold: float = Field(default=0.97, ge=0, le=1)
    num_queries: int = Field(default=256, ge=1)
    num_negatives: int = Field(default=512, ge=1)
    query: QuerySampling = "hard"
    key: KeySampling = "active"


@register("method", "reco")
class ReCo(Contrast[Draws]):
    """Regional contrast on sampled hard pixels, added to a supervised or semi-supervised base."""

    Config = ReCoConfig
    config: ReCoConfig

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the base's losses and ReCo's."""
        return self.contrast_terms(batch, "reco", self.config.reco_weight)

    @torch.no_grad()
    def seen(self, output: StudentOutput) -> StudentOutput:
        """Return the output on partially labelled images, its labels completed where the student is at least δ_s confident.

        The authors have 0.97 there, whatever δ_s is (``train_semisup_partial.py``).
        """
        scores = resize(output.logits, output.target.label.shape[1:]).softmax(dim=1)
        confidence, label = with_visible_labels(scores, output.target.label).max(dim=1)
        sure = confidence >= self.config.strong_threshold
        target = Target(output.target.image, torch.where(sure, label, IGNORE_INDEX), confidence * sure)
        return StudentOutput(target, output.features, output.logits)

    def drawing(self, batch: Batch) -> Callable[[], Draws]:
        """Return what gives the random numbers of this batch's contrast."""
        config, device = self.config, batch.labelled.image.device
        numbers = self.num_classes, config.num_queries, config.num_negatives
        return drawing(*numbers, seed=derive(batch.seed, "reco"), device=device)

    def contrast(self, pixels: Pixels, draws: Draws) -> Tensor:
        """Return ReCo's loss, unweighted."""
        config = self.config
        return reco_loss(
            *pixels,
            draws,
            strong_threshold=config.strong_threshold,
            temperature=config.temperature,
            query=config.query,
            key=config.key,
        )
