"""UniMatch V2: a teacher labels the weak view; two strong views keep complementary halves of the encoder's channels.

Source: Yang, Zhao and Zhao, UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation, TPAMI 2025 (arXiv
2410.10777), section 3. Its network is DPT on DINOv2 (``methods.networks.dpt``). See ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bench.arrays import IGNORE_INDEX
from bench.config import Config
from bench.phases import phase
from bench.registry import register
from bench.seeds import rng
from bench.transfer import to_device
from methods.base import Batch, Build, Network
from methods.ema import BufferPolicy, Ema
from methods.fixmatch import labelled_by, pasted, strengthen
from methods.losses.segmentation import confident_loss, cross_entropy, mean_where
from methods.mixing import Boxes
from methods.predictors import student_and_teacher
from methods.student import StudentMethod, Target
from methods.unimatch import need_encoder


class UniMatchV2Config(Config):
    """Hyperparameters of UniMatch V2. Defaults are those of the paper and the authors' code.

    Attributes:
        threshold: τ, confidence from which a pseudo-label counts.
        boxes: of CutMix between the images of a batch, the first with the last (see ``methods.mixing.draw_boxes``).
        strong_weight: factor on the mean of the two strong views' losses. The whole loss is halved, as in the paper.
        dropped_images: share of the images of which each view keeps one half of the channels; the others keep all.
        ema_decay: of the teacher, after a warm-up of min(1 - 1/(t + 1), decay).
        teacher_buffers: see ``methods.ema.Ema``.
        predict_with: the network that is evaluated; the authors print teacher and student. `mean` is that of both networks'
            probabilities.
    """

    # This project's choice, around the published values.
    ranges: ClassVar[dict[str, dict[str, Any]]] = {
        "threshold": {"choice": [0.0, 0.7, 0.8, 0.9, 0.95, 0.97]},
        "strong_weight": {"log_uniform": [0.1, 10.0]},
    }

    threshold: float = Field(default=0.95, ge=0, le=1)
    boxes: Boxes = "unimatch"
    strong_weight: float = Field(default=1.0, ge=0)
    dropped_images: float = Field(default=0.5, ge=0, le=1)
    ema_decay: float = Field(default=0.996, ge=0, lt=1)
    teacher_buffers: BufferPolicy = "average"
    predict_with: Literal["teacher", "student", "mean"] = "teacher"


def complementary(maps: Sequence[Tensor], share: float, draw: np.random.Generator) -> list[Tensor]:
    """Return the maps of two views with channels at 0 in one where they are doubled in the other.

    Args:
        maps: (2B, C, h, w) each, B images' first views and then their second ones. Maps of equally many channels lose the
            same ones.
        share: of the B images that lose channels, rounded up.
        draw: host generator.
    """
    count = len(maps[0]) // 2
    spared = draw.permutation(count)[: int(count * (1 - share))]
    scales: dict[int, Tensor] = {}
    for width in dict.fromkeys(values.shape[1] for values in maps):
        first = 2 * (draw.random((count, width)) < 0.5).astype(np.float32)
        first[spared] = 1
        scales[width] = to_device(np.concatenate((first, 2 - first)), maps[0].device)[:, :, None, None]
    return [values * scales[values.shape[1]].to(values.dtype) for values in maps]


@register("method", "unimatch_v2")
class UniMatchV2(StudentMethod):
    """A teacher's confident labels on two strong views with complementary channels."""

    Config = UniMatchV2Config
    config: UniMatchV2Config
    strong_views = 2

    def __init__(self, config: UniMatchV2Config, build: Build) -> None:
        super().__init__(config, build)
        need_encoder(self.student, "unimatch_v2")
        self.teacher = Ema(self.student, config.ema_decay, config.teacher_buffers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the supervised loss and that of the two strong views, halved."""
        labelled, config = batch.labelled, self.config
        views, confident = self.strong_targets(batch)
        network = cast(Network, self.student)
        with phase("student"):
            of_labelled = self.student(labelled.image)
            maps = network.encode(torch.cat([view.image for view in views]))
            maps = complementary(maps, config.dropped_images, rng(batch.seed, "features"))
            of_views = network.classify(network.decode(maps)).chunk(2)
        with phase("loss supervised"):
            supervised = cross_entropy(of_labelled, labelled.label, self.ohem)
        with phase("loss unsupervised"):
            strong = torch.stack(
                [
                    confident_loss(logits, view.label, view.confidence, config.threshold)
                    for logits, view in zip(of_views, views, strict=True)
                ]
            ).mean()
        self.log("confident", confident)
        return {"supervised": supervised / 2, "strong": config.strong_weight * strong / 2}

    @torch.no_grad()
    def strong_targets(self, batch: Batch) -> tuple[list[Target], Tensor]:
        """Return the two strong views with the teacher's labels, mixed, and the confident share of the weak view."""
        unlabelled = batch.unlabelled
        assert unlabelled is not None, "the loader gives unlabelled images where uses_unlabelled is True"
        with phase("teacher"):
            target = labelled_by(self.teacher(unlabelled.weak), unlabelled)
            confident = (target.confidence >= self.config.threshold).float()
            share = mean_where(confident, target.label != IGNORE_INDEX)
        with phase("augment"):
            views = []
            for number, view in enumerate(unlabelled.strong_views):
                own = strengthen(target, view)
                other = [values.flip(0) for values in own]
                views.append(pasted(own, other, self.config.boxes, rng(batch.seed, "mix", number)))
        return views, share

    def after_step(self, step: int) -> None:
        """Move the teacher."""
        self.teacher.update(self.student, step)

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """Teacher, student and their mean; the config says which one predicts."""
        return student_and_teacher(self.student, self.teacher.model, self.config.predict_with)
