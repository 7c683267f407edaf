"""Backbones: four stages of a classification network, dilated to an output stride, its own normalisation first."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from bench.config import Config
from bench.errors import BenchError, unknown
from methods.networks import weights as weights_files
from methods.networks.backbone import Backbone
from methods.networks.fixed import BatchNorm, fix
from methods.networks.timm_weights import TIMM
from methods.networks.torchvision_backbones import TINY, BackboneName, build_torchvision

OutputStride = Literal[8, 16, 32]


class BackboneConfig(Config):
    """Options of every network on these backbones.

    Attributes:
        backbone: a torchvision classification network; a ResNet whose stem has three convolutions (``resnet50-deepstem``),
            as the UniMatch family of papers has it; ``timm/NAME``, any model of timm that has features at strides 4 to 32
            (extra ``.[timm]``); or `tiny` (for tests and demonstrations, with a narrow decoder).
        weights: ``none`` (from scratch), ``imagenet`` (torchvision's first weights, those of the ReCo authors'
            ``pretrained=True``; for timm the file of ``weights fetch timm/NAME``, or an installed package, see
            ``docs/backbones.md``), ``imagenet-v2`` (torchvision's newer ones) or the path of a backbone's state dict. Only
            the file's name or hash takes part in a cell's identity.
        batch_norm: of the backbone: ``train``, or ``frozen``: statistics, scale and shift stay those of the weights, in
            training too, and are multiplied into the convolution before them where there is one (the same function; the
            convolution's own weights are trained as before).
        freeze_stages: of how many of the four stages, the stem with the first, all weights stay as they are.
    """

    backbone: str = "resnet101"
    weights: str = "none"
    batch_norm: Annotated[BatchNorm, Field(json_schema_extra={"identity": "non-default"})] = "train"
    freeze_stages: Annotated[int, Field(ge=0, le=4, json_schema_extra={"identity": "non-default"})] = 0

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        if not name.startswith(TIMM) and name not in get_args(BackboneName):
            raise ValueError(str(unknown("backbone", name, [*get_args(BackboneName), f"{TIMM}NAME"])))
        return name

    @model_validator(mode="after")
    def _exists(self) -> BackboneConfig:
        try:
            if self.backbone.startswith(TIMM):
                from methods.networks import timm_backbones  # an extra, which takes seconds

                timm_backbones.facts(self.backbone.removeprefix(TIMM), getattr(self, "output_stride", 32))
            if weights_files.is_imagenet(self.weights):
                weights_files.resolve(self.weights, self.backbone)
        except BenchError as error:
            raise ValueError(str(error)) from None
        return self

    def identity(self) -> dict[str, Any]:
        """Return the options with the weights' fingerprint instead of their path."""
        return {**super().identity(), "weights": weights_files.fingerprint(self.weights, self.backbone)}

    def needed_files(self) -> dict[str, str]:
        """Return the file of the weights, and the command that puts it in place."""
        return weights_files.needs(self.weights, self.backbone)

    def needed_modules(self) -> tuple[str, ...]:
        """Return the library of the backbone; `tiny` has none."""
        return ("timm",) if self.backbone.startswith(TIMM) else () if self.backbone == TINY else ("torchvision",)


def build_backbone(
    name: str,
    output_stride: OutputStride,
    weights: str = "none",
    batch_norm: BatchNorm = "train",
    freeze_stages: int = 0,
) -> Backbone:
    """Return a backbone, from scratch (the library's initialisation) or from weights (see ``weights.load``).

    See :class:`BackboneConfig` for the options.

    Raises:
        BenchError: if the weights file is missing or damaged, or doesn't fit.
    """
    if name.startswith(TIMM):
        from methods.networks.timm_backbones import build_timm

        backbone: Backbone = build_timm(name.removeprefix(TIMM), output_stride, weights)
    else:
        backbone = build_torchvision(name, output_stride, weights)
    fix(backbone, batch_norm, freeze_stages)
    return backbone


def backbone_of(config: BackboneConfig, output_stride: OutputStride) -> Backbone:
    """Return the backbone that a network's options ask for. Raises BenchError, see :func:`build_backbone`."""
    return build_backbone(config.backbone, output_stride, config.weights, config.batch_norm, config.freeze_stages)
