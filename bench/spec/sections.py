"""The sections of a recipe that the harness itself owns. Each field is part of a cell's id unless marked otherwise.

Defaults are the recipe of the ReCo authors' released code (lorenmt/reco): SGD with Nesterov momentum, poly decay stepped
once per 200 iterations, 40,000 iterations, 10 labelled and 10 unlabelled images per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from bench.bounds import CropSide, Decay, Epochs, Images, Rate, Side, Steps
from bench.class_mean import indices
from bench.config import Config
from bench.errors import BenchError
from bench.spec.messages import validate
from bench.spec.pseudo_labels import PseudoLabels

Fraction01 = Annotated[float, Field(ge=0, le=1)]


class Batch(Config):
    """Images per optimizer step.

    Attributes:
        labelled: labelled images (a method may multiply it, as supervised runs do, to see as many images as the others).
        unlabelled: unlabelled images.
    """

    labelled: Images = 10
    unlabelled: Images = 10


class Schedule(Config):
    """How long a run lasts and what it sees.

    Attributes:
        iterations: optimizer steps.
        epochs: of the unlabelled images, in place of `iterations`, which planning works out (see ``bench.spec.epochs``).
        batch: images per step, over all accumulated micro-batches.
        accumulate: micro-batches per step; each holds batch / accumulate images.
        sampling: `replacement` draws each step's images anew (the authors' sampler, but never one image twice in a batch
            where there are enough); `epoch` goes through a new permutation each epoch.
    """

    iterations: Steps = 40_000
    epochs: Epochs | None = Field(default=None, json_schema_extra={"identity": False})
    batch: Batch = Batch()
    accumulate: PositiveInt = 1
    sampling: Literal["replacement", "epoch"] = "replacement"

    def with_labelled_factor(self, factor: int) -> Schedule:
        """Return the schedule with `factor` times as many labelled images per step."""
        batch = self.batch.model_copy(update={"labelled": self.batch.labelled * factor})
        return self.model_copy(update={"batch": batch})

    @model_validator(mode="after")
    def _divisible(self) -> Schedule:
        for name in ("labelled", "unlabelled"):
            if getattr(self.batch, name) % self.accumulate:
                raise ValueError(f"batch.{name} must be a multiple of accumulate ({self.accumulate})")
        return self


class Optimizer(Config):
    """The optimizer and its learning-rate schedule, poly: lr · (1 - t/T)^power, floored.

    Attributes:
        name: `sgd` or `adamw`.
        lr: base learning rate.
        momentum: of SGD.
        nesterov: of SGD.
        weight_decay: L2 on every parameter, as the authors do.
        backbone_lr_factor: factor on the learning rate of the network's `backbone`.
        poly_power: exponent of the decay; 0 keeps the rate constant.
        lr_every: the rate changes once per this many iterations (the authors' 200).
        min_lr: floor of the rate.
        warmup: iterations of linear warm-up from 0.
        clip_norm: clip the global gradient norm to this; null never clips.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Rate = 2.5e-3
    momentum: Fraction01 = 0.9
    nesterov: bool = True
    weight_decay: Decay = 5e-4
    backbone_lr_factor: Decay = 1.0
    poly_power: Decay = 0.9
    lr_every: Steps = 200
    min_lr: Decay = 1e-6
    warmup: Annotated[NonNegativeInt, Field(le=10**9)] = 0
    clip_norm: PositiveFloat | None = None


class Numerics(Config):
    """How numbers are computed: part of the id, because it changes bits.

    Attributes:
        precision: `fp32`, or `bf16` autocast (weights and losses stay fp32).
        channels_last: memory format of images and weights.
        tf32: let convolutions in fp32 round their factors to TF32's 10 bits on a GPU, for speed, as torch does by default.
            Matrix products are exact in any case.
        batch_norm_parts: batch-norm statistics are those of each of so many equal parts of a (micro-)batch, as on so many
            GPUs without SyncBatchNorm; 1 is over all of it, on however many GPUs.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    tf32: bool = Field(default=False, json_schema_extra={"identity": "non-default"})
    batch_norm_parts: PositiveInt = Field(default=1, json_schema_extra={"identity": "non-default"})


Mode = Literal["whole", "padded", "sliding"]
Size = tuple[Side, Side]
Stride = tuple[CropSide, CropSide]
ScoredSplit = Literal["train", "val", "test", "holdout"]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a class is named twice")
    return tuple(sorted(names))  # their order changes no score, and so no id


ClassNames = Annotated[tuple[str, ...], AfterValidator(_distinct)]


class OtherEvaluation(Config):
    """Another evaluation of a run that is trained. What is left out is as in the run's own.

    Attributes:
        split: the images: `train` (all of them, whatever was labelled), `val`, `test`, or `holdout`.
        mode, size, stride: see :class:`Evaluation`; size and stride of the run's own go with its mode alone.
        ignore_classes: see :class:`Evaluation`; an empty list ignores none.
    """

    split: ScoredSplit | None = None
    mode: Mode | None = None
    size: Size | None = None
    stride: Stride | None = None
    ignore_classes: ClassNames | None = None

    def of(self, own: Evaluation, where: str = "evaluation") -> Evaluation:
        """Return the protocol, given the run's own.

        Raises:
            BenchError: if mode, size and stride don't go together.
        """
        mode = self.mode or own.mode
        size = self.size or (own.size if mode == own.mode else None)
        stride = self.stride or (own.stride if (mode, size) == (own.mode, own.size) else None)
        multiple = own.multiple_of if mode == "whole" else None
        ignored = own.ignore_classes if self.ignore_classes is None else self.ignore_classes
        asked = {"mode": mode, "size": size, "stride": stride, "multiple_of": multiple, "ignore_classes": ignored}
        return validate(Evaluation, {**asked, "batch_size": own.batch_size}, where)


class Evaluation(Config):
    """How a run is scored. The protocol is named in every row of a table.

    Attributes:
        mode: `whole` image; `padded` to `size` (reflected border, cut away again); `sliding` windows of `size`, whose
            softmax probabilities are averaged where they overlap.
        size: (height, width) of the padded image or of the window; null for `whole`.
        stride: of the sliding window; null is two thirds of `size`.
        ignore_classes: names of classes that are left out of every mean over classes, mIoU first; they are reported per
            class, and their pixels still count against the others.
        multiple_of: of `whole`, resize the image, both sides to the nearest multiple of this, as networks of patches need.
        every: iterations between evaluations; the last iteration is always evaluated.
        every_epochs: in place of `every`, like ``schedule.epochs``.
        select_on: `holdout` also keeps the weights of the evaluation with the highest mIoU on images held out of the
            labelled ones, the earliest of several: the rule `selected`. `none` keeps `last` and `best` alone.
        holdout: how many of the split's labelled images are held out. They count in the label budget and are never trained
            on, labelled or unlabelled.
        also: other evaluations of the weights that a run keeps, made when its training has ended (not part of the id).
        boundary: also count the pixels near boundaries, for `table --metric boundary-iou` (nor is this).
        pseudo_labels: also compare what the predictor would teach with masks that no training sees (nor is this).
        predictors: `headline` scores the network that the method predicts with; `all` also its others, e.g. student beside
            teacher, for `table --predictor` and `plot convergence --of "mIoU of student"` (nor is this).
        batch_size: images per forward pass (nor is this: results don't depend on it but for rounding).
    """

    mode: Mode = "whole"
    size: Size | None = None
    stride: Stride | None = None
    ignore_classes: ClassNames = Field(default=(), json_schema_extra={"identity": "non-default"})
    multiple_of: CropSide | None = Field(default=None, json_schema_extra={"identity": "non-default"})
    every: Steps = 200
    every_epochs: Epochs | None = Field(default=None, json_schema_extra={"identity": False})
    select_on: Literal["none", "holdout"] = Field(default="none", json_schema_extra={"identity": "non-default"})
    holdout: PositiveInt | None = Field(default=None, json_schema_extra={"identity": "non-default"})
    also: tuple[OtherEvaluation, ...] = Field(default=(), json_schema_extra={"identity": False})
    boundary: bool = Field(default=False, json_schema_extra={"identity": False})
    pseudo_labels: PseudoLabels | None = Field(default=None, json_schema_extra={"identity": False})
    predictors: Literal["headline", "all"] = Field(default="headline", json_schema_extra={"identity": False})
    batch_size: Images = Field(default=4, json_schema_extra={"identity": False})

    def check_classes(self, classes: Sequence[str], where: str) -> None:
        """Raise BenchError where a class that is ignored, here or in ``also``, is none of these, or none would be left."""
        indices(self.ignore_classes, classes, f"{where}: evaluation.ignore_classes")
        for i, other in enumerate(self.also):
            indices(other.ignore_classes or (), classes, f"{where}: evaluation.also.{i}.ignore_classes")

    @property
    def held_out(self) -> int:
        """Number of labelled images that are held out; 0 for none."""
        return self.holdout or 0

    @property
    def window_stride(self) -> Size | None:
        """The stride of the sliding window in effect: as given, else two thirds of its size; None without a window."""
        if self.mode != "sliding" or self.size is None:
            return None
        return self.stride or (max(2 * self.size[0] // 3, 1), max(2 * self.size[1] // 3, 1))

    @property
    def protocol(self) -> tuple[Mode, Size | None, Size | None, ClassNames]:
        """What decides a score, given weights and images."""
        return self.mode, self.size, self.stride, self.ignore_classes

    @model_validator(mode="after")
    def _holdout_is_whole(self) -> Evaluation:
        if self.select_on == "holdout" and self.holdout is None:
            raise ValueError("select_on 'holdout' needs holdout, the number of labelled images to hold out")
        if self.select_on == "none" and self.holdout is not None:
            raise ValueError("holdout is for select_on 'holdout'")
        if self.holdout is None and any(other.split == "holdout" for other in self.also):
            raise ValueError("also: split 'holdout' needs select_on 'holdout'")
        return self

    @model_validator(mode="after")
    def _others_fit(self) -> Evaluation:
        for i, other in enumerate(self.also):
            try:
                other.of(self, f"also.{i}")
            except BenchError as error:
                raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _size_fits_mode(self) -> Evaluation:
        if (self.mode == "whole") != (self.size is None):
            raise ValueError(f"mode '{self.mode}' {'takes no' if self.mode == 'whole' else 'needs a'} size")
        for name, mode in (("multiple_of", "whole"), ("stride", "sliding")):
            if getattr(self, name) is not None and self.mode != mode:
                raise ValueError(f"{name} is for mode '{mode}'")
        if self.stride and self.size and (self.stride[0] > self.size[0] or self.stride[1] > self.size[1]):
            raise ValueError("stride must not exceed size, or pixels between windows are never predicted")
        return self
