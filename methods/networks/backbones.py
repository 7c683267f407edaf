"""Backbones: four stages of a classification network, dilated to an output stride, ImageNet normalisation first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from bench.config import Config
from bench.errors import BenchError
from methods.base import IMAGENET_MEAN, IMAGENET_STD
from methods.networks import weights as weights_files

if TYPE_CHECKING:
    from torchvision.models.resnet import BasicBlock

BackboneName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v3_large", "tiny"]
_TINY = (16, 24, 48, 64, 64)


class BackboneConfig(Config):
    """Options of every network on these backbones.

    Attributes:
        backbone: a torchvision classification network, or `tiny` (for tests and demonstrations, with a narrow decoder).
        weights: ``none`` (from scratch), ``imagenet`` (torchvision's first weights, those of the ReCo authors'
            ``pretrained=True``), ``imagenet-v2`` (its newer ones) or the path of a backbone's state dict. Only the
            file's name or hash takes part in a cell's identity.
    """

    backbone: BackboneName = "resnet101"
    weights: str = "none"

    @model_validator(mode="after")
    def _weights_exist(self) -> BackboneConfig:
        if weights_files.is_imagenet(self.weights):
            try:
                weights_files.resolve(self.weights, self.backbone)
            except BenchError as error:
                raise ValueError(str(error)) from None
        return self

    def identity(self) -> dict[str, Any]:
        """Return the options with the weights' fingerprint instead of their path."""
        return {**super().identity(), "weights": weights_files.fingerprint(self.weights, self.backbone)}


class Backbone(nn.Module):
    """Image (B, 3, H, W) in [0, 1] to the outputs of four stages, at strides 4, 8, 16, 32 or the output stride.

    Attributes:
        channels: channels of each stage's output.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, stages: Sequence[nn.Module], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four stages' outputs, finest first."""
        x = (image - self.mean) / self.std
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


@dataclass(frozen=True)
class _Spec:
    """How a backbone is made.

    Attributes:
        make: returns the whole network, whose keys are those of a weights file.
        split: cuts it into its four stages.
        channels: of each stage's output.
        classifier: prefixes of the keys that belong to the ImageNet classifier.
    """

    make: Callable[[], nn.Module]
    split: Callable[[nn.Module], list[nn.Module]]
    channels: tuple[int, int, int, int]
    classifier: tuple[str, ...] = ("fc.",)


def _split_resnet(net: nn.Module) -> list[nn.Module]:
    parts = dict(net.named_children())
    stem = [parts[name] for name in ("conv1", "bn1", "relu", "maxpool", "layer1")]
    return [nn.Sequential(*stem), parts["layer2"], parts["layer3"], parts["layer4"]]


def _split_mobilenet(net: nn.Module) -> list[nn.Module]:
    blocks = list(net.get_submodule("features").children())
    return [nn.Sequential(*blocks[a:b]) for a, b in ((0, 4), (4, 7), (7, 13), (13, 17))]


def _residual(inputs: int, outputs: int, stride: int) -> BasicBlock:
    from torchvision.models.resnet import BasicBlock  # torchvision takes two seconds; planning doesn't need it

    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, shortcut)


def _tiny() -> nn.Sequential:
    """Return a residual network of 0.19 M parameters, for tests and for demonstrations on a CPU."""
    stem, *widths = _TINY
    conv = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
    pairs = zip(_TINY, widths, strict=False)
    first, *others = (_residual(inputs, outputs, 2) for inputs, outputs in pairs)
    net = nn.Sequential(nn.Sequential(conv, first), *others)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision initialises its ResNets
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def _torchvision(name: BackboneName) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None)
    return network


def _spec(name: BackboneName) -> _Spec:
    if name == "tiny":
        return _Spec(_tiny, lambda net: list(net.children()), _TINY[1:])
    if name == "mobilenet_v3_large":
        return _Spec(lambda: _torchvision(name), _split_mobilenet, (24, 40, 112, 960), ("classifier.",))
    channels = (64, 128, 256, 512) if name in ("resnet18", "resnet34") else (256, 512, 1024, 2048)
    return _Spec(lambda: _torchvision(name), _split_resnet, channels)


def dilate(stage: nn.Module, rate: int) -> None:
    """Take away a stage's stride of 2 and dilate its convolutions by `rate`, the one that had the stride by `rate` / 2.

    The dilated network computes the same filter responses as the strided one, only at every position. Source: the ReCo
    authors' ``_nostride_dilate``, here for kernels of any odd size.
    """
    for module in stage.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        strided = module.stride == (2, 2)
        own = rate // 2 if strided else rate
        if strided:
            module.stride = (1, 1)
        if module.kernel_size != (1, 1):
            module.dilation = (own, own)
            module.padding = (own * (module.kernel_size[0] // 2), own * (module.kernel_size[1] // 2))


def build_backbone(name: BackboneName, output_stride: Literal[8, 16, 32], weights: str = "none") -> Backbone:
    """Return a backbone, from scratch (torchvision's initialisation) or from weights (see ``weights.load``).

    Raises:
        BenchError: if the weights file is missing or damaged, or doesn't fit.
    """
    spec = _spec(name)
    net = spec.make()
    if weights != "none":
        weights_files.load_into(net, weights_files.load(weights, name), spec.classifier, weights)
    stages = spec.split(net)
    if output_stride == 8:
        dilate(stages[2], 2)
    if output_stride < 32:
        dilate(stages[3], 32 // output_stride)
    return Backbone(stages, spec.channels)
