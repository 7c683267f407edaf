"""What methods share that contrast pixels on top of any base method: the base, a representation head, the pixels that count.

Source: ``train_semisup.py`` and ``train_sup.py`` of the ReCo authors' code. The representation head exists in training only:
the predictor is the base method's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import bench.config
from bench.arrays import IGNORE_INDEX
from bench.phases import phase
from methods.base import Batch, Build, Method
from methods.classmix import ClassMix, ClassMixConfig
from methods.losses.segmentation import Reduction
from methods.mean_teacher import MeanTeacher, MeanTeacherConfig
from methods.student import StudentMethod, StudentOutput, StudentOutputs
from methods.supervised import Supervised, SupervisedConfig
from methods.teacher import TeacherConfig

Base = Literal["supervised", "mean_teacher", "classmix", "cutmix", "cutout"]
Draws = TypeVar("Draws")


class ContrastConfig(TeacherConfig):
    """Hyperparameters of the base and of what is contrasted. Defaults are those of the ReCo authors' code.

    Attributes:
        base: the method that the contrast is added to; `cutmix` and `cutout` are ClassMix's recipe with that mixing.
        batch_factor: of base `supervised` (see there).
        threshold: of the mixing bases: confidence from which a pixel counts for its image's weight.
        reduction: of the mixing bases (see ``methods.classmix``).
        ramp_up: of base `mean_teacher` (see there).
        weak_threshold: δ_w; an unlabelled pixel is valid where its pseudo-label is at least this confident.
        temperature: τ, of the contrast.
        representation_dim: width of the representation head and of its output.
    """

    base: Base = "classmix"
    batch_factor: int = Field(default=2, ge=1)
    threshold: float = Field(default=0.97, ge=0, le=1)
    reduction: Reduction = "nonzero"
    ramp_up: float = Field(default=0.27, ge=0, le=1)
    weak_threshold: float = Field(default=0.7, ge=0, le=1)
    temperature: float = Field(default=0.5, gt=0)
    representation_dim: int = Field(default=256, ge=1)


def _make_base(config: ContrastConfig, build: Build) -> StudentMethod:
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


class Pixels(NamedTuple):
    """The labelled and unlabelled pixels of a batch at the decoder's resolution.

    Attributes:
        representation: (B, D, h, w).
        label: (B, h, w) int64.
        valid: (B, h, w) bool, which of them may be contrasted.
        probability: the student's, (B, K, h, w), without a gradient.
    """

    representation: Tensor
    label: Tensor
    valid: Tensor
    probability: Tensor


class Contrast(Method, Generic[Draws]):
    """A contrast between pixels, added to a supervised or semi-supervised base."""

    Config: ClassVar[type[ContrastConfig]] = ContrastConfig
    config: ContrastConfig

    def __init__(self, config: ContrastConfig, build: Build) -> None:
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
        assert isinstance(config, ContrastConfig)
        return config.batch_factor if config.base == "supervised" else 1

    def drawing(self, batch: Batch) -> Callable[[], Draws]:
        """Return what gives the random numbers of this batch's contrast, which may be drawn meanwhile."""
        raise NotImplementedError

    def contrast(self, pixels: Pixels, draws: Draws) -> Tensor:
        """Return the contrast, unweighted, a scalar."""
        raise NotImplementedError

    def seen(self, output: StudentOutput) -> StudentOutput:
        """Return the student's output on partially labelled images as the contrast takes it."""
        return output

    def contrast_terms(self, batch: Batch, name: str, weight: float) -> dict[str, Tensor]:
        """Return the base's losses, and the weighted contrast by its name."""
        draws = self.drawing(batch)
        outputs = self.base.outputs(batch)
        terms = self.base.terms(batch, outputs)
        with phase(f"loss {name}"):
            if batch.labelled.partial:
                outputs = StudentOutputs(self.seen(outputs.labelled), outputs.unlabelled)
            return {**terms, name: weight * self.contrast(self.pixels(outputs), draws())}

    def pixels(self, outputs: StudentOutputs) -> Pixels:
        """Return what is contrasted, over the labelled and the unlabelled images."""
        both = [output for output in (outputs.labelled, outputs.unlabelled) if output is not None]
        representation = torch.cat([self.representation(output.features) for output in both])
        label, confidence = (torch.cat(part) for part in zip(*map(_at_decoder, both), strict=True))
        probability = torch.cat([output.logits.detach() for output in both]).float().softmax(1)
        return Pixels(representation, label, confidence >= self.config.weak_threshold, probability)

    def after_step(self, step: int) -> None:
        """Move the base's teacher, if it has one."""
        self.base.after_step(step)

    @property
    def predictors(self) -> dict[str, nn.Module]:
        """The base's predictors, which have no representation head."""
        return self.base.predictors


def _at_decoder(output: StudentOutput) -> tuple[Tensor, Tensor]:
    """Return label and confidence at the decoder's resolution, by nearest neighbour as in the authors' code."""
    size = output.features.shape[2:]
    maps = torch.stack((output.target.label.float(), output.target.confidence), 1)
    label, confidence = F.interpolate(maps, size, mode="nearest").unbind(1)
    return label.long(), confidence * (label != IGNORE_INDEX)
