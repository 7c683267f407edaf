"""The backbones that torchvision's networks give, and `tiny`: cut into four stages and dilated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from methods.networks import weights as weights_files
from methods.networks.backbone import Stages
from methods.networks.weight_files import load_into

BackboneName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet50-deepstem",
    "resnet101-deepstem",
    "mobilenet_v3_large",
    "tiny",
]
DEEP_STEM, TINY = "-deepstem", "tiny"
_TINY = (16, 24, 48, 64, 64)


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


class _Residual(nn.Module):
    """The basic block of a ResNet, layer by layer torchvision's, whose import takes longer than a test."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(image)))))
        out += self.downsample(image)
        found: Tensor = self.relu(out)
        return found


def _tiny() -> nn.Sequential:
    """Return a residual network of 0.19 M parameters, for tests and for demonstrations on a CPU."""
    stem, *widths = _TINY
    conv = nn.Sequential(*_conv(3, stem, 2))
    pairs = zip(_TINY, widths, strict=False)
    first, *others = (_Residual(inputs, outputs, 2) for inputs, outputs in pairs)
    net = nn.Sequential(nn.Sequential(conv, first), *others)
    initialise(net)
    return net


def _torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None)
    return network


def _deep_stem(name: str) -> nn.Module:
    """Return a ResNet of bottlenecks whose stem is three convolutions of 3 x 3, to 128 channels, instead of one of 7 x 7.

    Source: He et al., Bag of Tricks for Image Classification, CVPR 2019 (ResNet-C), with the widths of PyTorch-Encoding,
    whose weights the UniMatch family of papers starts from; keys are those of its files.
    """
    from torchvision.models.resnet import Bottleneck

    net: Any = _torchvision(name)
    net.conv1 = nn.Sequential(*_conv(3, 64, 2), *_conv(64, 64, 1), nn.Conv2d(64, 128, 3, 1, 1, bias=False))
    net.bn1 = nn.BatchNorm2d(128)
    shortcut = nn.Sequential(nn.Conv2d(128, 256, 1, bias=False), nn.BatchNorm2d(256))
    net.layer1[0] = Bottleneck(128, 64, downsample=shortcut)
    initialise(net.conv1)
    initialise(net.layer1[0])
    whole: nn.Module = net
    return whole


def _conv(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def initialise(net: nn.Module) -> None:
    """Initialise convolutions as torchvision does those of its ResNets."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _spec(name: str) -> _Spec:
    if name == TINY:
        return _Spec(_tiny, lambda net: list(net.children()), _TINY[1:])
    if name == "mobilenet_v3_large":
        return _Spec(lambda: _torchvision(name), _split_mobilenet, (24, 40, 112, 960), ("classifier.",))
    channels = (64, 128, 256, 512) if name in ("resnet18", "resnet34") else (256, 512, 1024, 2048)
    if name.endswith(DEEP_STEM):
        return _Spec(lambda: _deep_stem(name.removesuffix(DEEP_STEM)), _split_resnet, channels)
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


def build_torchvision(name: str, output_stride: Literal[8, 16, 32], weights: str) -> Stages:
    """Return one of these backbones.

    Raises:
        BenchError: if the weights file is missing or damaged, or doesn't fit.
    """
    spec = _spec(name)
    net = spec.make()
    if weights != "none":
        load_into(net, weights_files.load(weights, name), spec.classifier, weights)
    stages = spec.split(net)
    if output_stride == 8:
        dilate(stages[2], 2)
    if output_stride < 32:
        dilate(stages[3], 32 // output_stride)
    return Stages(stages, spec.channels)
