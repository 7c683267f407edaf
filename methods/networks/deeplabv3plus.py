"""DeepLabV3+ as the ReCo authors build it: atrous spatial pyramid pooling and a decoder at 1/4 of the image.

Source: Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018; ``network/deeplabv3`` in the ReCo
authors' repository (plain convolutions, one classifier of two layers).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.registry import register
from bench.resize import bilinear
from methods.networks.backbones import BackboneConfig, build_backbone

_RATES = (6, 12, 18)  # atrous rates of the pyramid at output stride 16, twice that at 8


class Widths(NamedTuple):
    """Channels of the pyramid (and of the classifier's hidden layer) and of the low-level projection."""

    pyramid: int
    low: int


_AUTHORS = Widths(256, 48)
_TINY = Widths(48, 24)


class DeepLabV3PlusConfig(BackboneConfig):
    """Options of DeepLabV3+, those of its backbone included (see ``BackboneConfig``).

    Attributes:
        output_stride: of the backbone; the ReCo authors use 16.
        align_corners: of the decoder's bilinear upsampling; the authors' code has True.
    """

    output_stride: Literal[8, 16] = 16
    align_corners: bool = True


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1, three dilated 3x3 convolutions and image pooling, then a projection."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_conv(inputs, outputs, 1), *(_conv(inputs, outputs, 3, rate) for rate in rates)])
        self.pool = _conv(inputs, outputs, 1)
        self.project = _conv((len(rates) + 2) * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] == 1:
            raise BenchError(
                "DeepLabV3+ cannot train on one image at a time (its image pooling is normalised over the batch): "
                "use a (micro-)batch of at least 2 images"
            )
        pooled = self.pool(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        pooled_and_dilated = torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1)
        output: Tensor = self.project(pooled_and_dilated)
        return output


@register("network", "deeplabv3plus")
class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ over torchvision backbones, as in the ReCo authors' code.

    Attributes:
        num_classes: K.
        feature_channels: channels of the decoder features, 304 (72 for `tiny`).
    """

    Config = DeepLabV3PlusConfig

    def __init__(self, config: DeepLabV3PlusConfig, num_classes: int) -> None:
        super().__init__()
        widths = _TINY if config.backbone == "tiny" else _AUTHORS
        rates = tuple(rate * 16 // config.output_stride for rate in _RATES)
        self.config = config
        self.num_classes = num_classes
        self.feature_channels = widths.pyramid + widths.low
        self.backbone = build_backbone(config.backbone, config.output_stride, config.weights)
        low, *_, high = self.backbone.channels
        self.pyramid = _Pyramid(high, widths.pyramid, rates)
        self.project = _conv(low, widths.low, 1)
        self.classifier = nn.Sequential(
            _conv(self.feature_channels, widths.pyramid, 3), nn.Conv2d(widths.pyramid, num_classes, 1)
        )

    def features(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to decoder features (B, feature_channels, ceil(H/4), ceil(W/4))."""
        low, *_, high = self.backbone(image)
        low = self.project(low)
        high = bilinear(self.pyramid(high), low.shape[2:], align_corners=self.config.align_corners)
        return torch.cat((low, high), dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Decoder features to class scores (logits), (B, num_classes, ceil(H/4), ceil(W/4))."""
        logits: Tensor = self.classifier(features)
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to class scores (B, num_classes, ceil(H/4), ceil(W/4))."""
        return self.classify(self.features(image))
