"""ReCo: regional contrast between a few hard pixels and keys of other classes, on top of any base method.

Source: Liu, Zhi, Johns and Davison, Bootstrapping Semantic Segmentation with Regional Contrast, ICLR 2022, and
``train_semisup.py``, ``train_sup.py`` of the authors' code. The representation head exists in training only: the
predictor is the base method's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import bench.config
from bench.arrays import IGNORE_INDEX
from bench.phases import phase
from bench.registry import register
from bench.seeds import derive
from methods.base import Batch, Build, Method
from methods.classmix import ClassMix, ClassMixConfig
from methods.losses.reco import Draws, KeySampling, QuerySampling, drawing, reco_loss
from methods.losses.segmentation import Reduction, resize
from methods.mean_teacher import MeanTeacher, MeanTeacherConfig
from methods.student import StudentMethod, StudentOutput, StudentOutputs, Target
from methods.supervised import Supervised, SupervisedConfig
from methods.teacher import TeacherConfig, with_visible_labels

Base = Literal["supervised", "mean_teacher", "classmix", "cutmix", "cutout"]


class ReCoConfig(TeacherConfig):
    """Hyperparameters of ReCo and of its base. Defaults are those of the authors' code, which agree with the paper.

    Attributes:
        base: the method that ReCo's loss is added to; `cutmix` and `cutout` are ClassMix's recipe with that mixing.
        batch_factor: of base `supervised` (see there).
        threshold: of the mixing bases: confidence from which a pixel counts for its image's weight.
        reduction: of the mixing bases (see ``methods.classmix``).
        ramp_up: of base `mean_teacher` (see there).
        reco_weight: factor on ReCo's loss.
        weak_threshold: δ_w; an unlabelled pixel is valid where its pseudo-label is at least this confident.
        strong_threshold: δ_s; a valid pixel is a hard query where the student gives its class less than this.
        temperature: τ, of the contrast and of the draw of the negatives' classes.
        num_queries: queries per class.
        num_negatives: negative keys per query.
        representation_dim: width of the representation head and of its output.
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

    base: Base = "classmix"
    batch_factor: int = Field(default=2, ge=1)
    threshold: float = Field(default=0.97, ge=0, le=1)
    reduction: Reduction = "nonzero"
    ramp_up: float = Field(default=0.27, ge=0, le=1)
    reco_weight: float = Field(default=1.0, ge=0)
    weak_threshold: float = Field(default=0.7, ge=0, le=1)
    strong_threshold: float = Field(default=0.97, ge=0, le=1)
    temperature: float = Field(default=0.5, gt=0)
    num_queries: int = Field(default=256, ge=1)
    num_negatives: int = Field(default=512, ge=1)
    representation_dim: int = Field(default=256, ge=1)
    query: QuerySampling = "hard"
    key: KeySampling = "active"


def _make_base(config: ReCoConfig, build: Build) -> StudentMethod:
    def options(of: type[bench.config.Config], **more: object) -> dict[str, object]:
        return {**{k: v for k, v in config if k in of.model_fields}, **more}

    if config.base == "supervised":
        return Supervised(SupervisedConfig.model_validate(options(SupervisedConfig)), build)
    if config.base == "mean_teacher":
        return MeanTeacher(MeanTeacherConfig.model_validate(options(MeanTeacherConfig)), build)
    return ClassMix(ClassMixConfig.model_validate(options(ClassMixConfig, mix=config.base)), build)


def representation_head(channels: int, width: int) -> nn.Sequential:
    """Return the head beside the classifier: decoder features (B, channels, h, w) to (B, width, h, w)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 1),
    )


@register("method", "reco")
class ReCo(Method):
    """Regional contrast on sampled hard pixels, added to a supervised or semi-supervised base."""

    Config = ReCoConfig

    def __init__(self, config: ReCoConfig, build: Build) -> None:
        super().__init__()
        self.config = config
        self.num_classes = build.num_classes
        self.base = _make_base(config, build)
        self.uses_unlabelled = self.base.uses_unlabelled
        channels: int = self.base.student.feature_channels  # type: ignore[assignment]
        self.representation = representation_head(channels, config.representation_dim)

    @staticmethod
    def labelled_batch_factor(config: bench.config.Config) -> int:
        """Return the base's factor: `batch_factor` for supervised training, else 1."""
        assert isinstance(config, ReCoConfig)
        return config.batch_factor if config.base == "supervised" else 1

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the base's losses and ReCo's."""
        draws = self.drawing(batch)
        outputs = self.base.outputs(batch)
        terms = self.base.terms(batch, outputs)
        with phase("loss reco"):
            if batch.labelled.partial:
                outputs = StudentOutputs(self.completed(outputs.labelled), outputs.unlabelled)
            return {**terms, "reco": self.config.reco_weight * self.contrast(outputs, draws())}

    @torch.no_grad()
    def completed(self, output: StudentOutput) -> StudentOutput:
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

    def contrast(self, outputs: StudentOutputs, draws: Draws) -> Tensor:
        """Return ReCo's loss, unweighted, over the labelled and unlabelled pixels of a batch at the decoder's resolution."""
        both = [output for output in (outputs.labelled, outputs.unlabelled) if output is not None]
        representation = torch.cat([self.representation(output.features) for output in both])
        label, confidence = (torch.cat(part) for part in zip(*map(_at_decoder, both), strict=True))
        probability = torch.cat([output.logits.detach() for output in both]).float().softmax(1)
        config = self.config
        return reco_loss(
            representation,
            label,
            confidence >= config.weak_threshold,
            probability,
            draws,
            strong_threshold=config.strong_threshold,
            temperature=config.temperature,
            query=config.query,
            key=config.key,
        )

    def after_step(self, step: int) -> None:
        """Move the base's teacher, if it has one."""
        self.base.after_step(step)

    @property
    def predictor(self) -> nn.Module:
        """The base's predictor, which has no representation head."""
        return self.base.predictor


def _at_decoder(output: StudentOutput) -> tuple[Tensor, Tensor]:
    """Return label and confidence at the decoder's resolution, by nearest neighbour as in the authors' code."""
    size = output.features.shape[2:]
    maps = torch.stack((output.target.label.float(), output.target.confidence), 1)
    label, confidence = F.interpolate(maps, size, mode="nearest").unbind(1)
    return label.long(), confidence * (label != IGNORE_INDEX)
