"""CPS, cross pseudo supervision: two networks, each taught by the other's labels.

Source: Chen, Yuan, Zeng and Wang, Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision, CVPR 2021 (arXiv
2106.01226), without CutMix (section 3) and with it (section 4.3). See ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.arrays import IGNORE_INDEX
from bench.config import Config
from bench.phases import phase
from bench.registry import register
from bench.seeds import rng
from methods.base import Batch, Build, Unlabelled
from methods.fixmatch import labelled_by
from methods.losses.segmentation import cross_entropy, mean_where, resize
from methods.mixing import Boxes, box_mask, combine
from methods.predictors import MeanOfTwo, headline_first
from methods.student import StudentMethod


class CpsConfig(Config):
    """Hyperparameters of CPS. Defaults are those of the paper with CutMix.

    Attributes:
        cross_weight: λ, factor on the networks' losses on each other's labels; the paper has 1.5, and with CutMix 1.
        mix: `cutmix`: both networks label two batches of unlabelled images and learn from the mixed images; `none`: they
            learn from each other on labelled and unlabelled images as these are.
        boxes: of CutMix (see ``methods.mixing.draw_boxes``); the authors have those of French et al.
        partner: of CutMix: the second `batch`, as the authors have it, or the next image of the same one (`roll`).
        predict_with: the network that is evaluated, the `first` as in the authors' code, the `second`, or the `mean` of both
            networks' probabilities.
    """

    # This project's choice, around the published values.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {"cross_weight": {"log_uniform": [0.1, 10.0]}}

    cross_weight: float = Field(default=1.0, ge=0)
    mix: Literal["cutmix", "none"] = "cutmix"
    boxes: Boxes = "cps"
    partner: Literal["batch", "roll"] = "batch"
    predict_with: Literal["first", "second", "mean"] = Field(
        default="first", json_schema_extra={"identity": "non-default"}
    )


class _Lesson(NamedTuple):
    """Unlabelled images (B, 3, H, W), and what each network says they show, (B, H, W)."""

    image: Tensor
    labels: tuple[Tensor, Tensor]


@register("method", "cps")
class CrossPseudoSupervision(StudentMethod):
    """Two networks that start differently, each taught by the other's hard labels; the first one predicts."""

    Config = CpsConfig
    config: CpsConfig
    strong_views = 0

    def __init__(self, config: CpsConfig, build: Build) -> None:
        super().__init__(config, build)
        self.other = build.make_network()
        self.partner_batch = (config.mix, config.partner) == ("cutmix", "batch")

    @property
    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Both networks."""
        return self.student, self.other

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """Both networks and their mean; the config says which one predicts."""
        first, second = self.networks
        found = {"first": first, "second": second, "mean": MeanOfTwo(first, second)}
        return headline_first(found, self.config.predict_with)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sum of both networks' supervised losses, and of their losses on each other's labels."""
        labelled, unlabelled = batch.labelled, batch.unlabelled
        assert unlabelled is not None, "the loader gives unlabelled images where uses_unlabelled is True"
        lesson = self.mixed(batch) if self.config.mix == "cutmix" else None
        with phase("student"):
            of_labelled = [network(labelled.image) for network in self.networks]
            image = unlabelled.weak if lesson is None else lesson.image
            of_unlabelled = [network(image) for network in self.networks]
        with phase("loss supervised"):
            supervised = _sum(cross_entropy(logits, labelled.label, self.ohem) for logits in of_labelled)
        with phase("loss unsupervised"):
            if lesson is None:
                labels = [
                    self.said_of_all(*logits, unlabelled) for logits in zip(of_labelled, of_unlabelled, strict=True)
                ]
                lesson = _Lesson(image, (labels[0], labels[1]))
                of_unlabelled = [torch.cat(pair) for pair in zip(of_labelled, of_unlabelled, strict=True)]
            by_others = zip(of_unlabelled, reversed(lesson.labels), strict=True)
            cross = _sum(cross_entropy(logits, label) for logits, label in by_others)
        valid = lesson.labels[0] != IGNORE_INDEX
        self.log("agreement", mean_where((lesson.labels[0] == lesson.labels[1]).float(), valid))
        return {"supervised": supervised, "cross": self.config.cross_weight * cross}

    @staticmethod
    def said_of_all(of_labelled: Tensor, of_unlabelled: Tensor, unlabelled: Unlabelled) -> Tensor:
        """Return a network's labels of labelled and unlabelled images together, (B, H, W)."""
        known = resize(of_labelled.detach(), unlabelled.weak.shape[2:]).argmax(1)
        return torch.cat((known, labelled_by(of_unlabelled.detach(), unlabelled).label))

    @torch.no_grad()
    def mixed(self, batch: Batch) -> _Lesson:
        """Return unlabelled images with boxes of others pasted, and each network's labels of them, pasted likewise.

        Both networks label in training mode, as in the authors' code.
        """
        unlabelled = batch.unlabelled
        assert unlabelled is not None
        with phase("teacher"):
            own = self.said(unlabelled)
            other = [x.roll(-1, 0) for x in own] if unlabelled.partner is None else self.said(unlabelled.partner)
            torch.clear_autocast_cache()  # older releases of torch keep weights there that were cast without gradients
        with phase("augment"):
            count, _, height, width = unlabelled.weak.shape
            boxes = box_mask(self.config.boxes, count, height, width, rng(batch.seed, "mix"), own[0].device)
            image, first, second = combine(~boxes, own, other)
        return _Lesson(image, (first, second))

    def said(self, unlabelled: Unlabelled) -> list[Tensor]:
        """Return unlabelled images and both networks' labels of them."""
        labels = [labelled_by(network(unlabelled.weak), unlabelled).label for network in self.networks]
        return [unlabelled.weak, *labels]


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
