"""DeepLabV3+ as the ReCo authors build it: atrous spatial pyramid pooling and a decoder at 1/4 of the image.

Source: Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018; ``network/deeplabv3`` in the ReCo
authors' repository (plain convolutions, one classifier of two layers).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from bench.errors import BenchError
from bench.registry import register
from bench.resize import bilinear
from methods.networks.backbones import BackboneConfig, backbone_of

_STRIDES = (4, 8, 16, 32)  # of the backbone's four maps, before dilation
_RATES = (6, 12, 18)  # atrous rates of the pyramid at output stride 16, twice that at 8


class Widths(NamedTuple):
    """Channels of the pyramid (and of the classifier's hidden layer) and of the low-level projection."""

    pyramid: int
    low: int


_AUTHORS = Widths(256, 48)
_TINY = Widths(48, 24)
Convolutions = Literal["plain", "separable"]


class DeepLabV3PlusConfig(BackboneConfig):
    """Options of DeepLabV3+, those of its backbone included (see ``BackboneConfig``).

    Attributes:
        output_stride: of the backbone; the ReCo authors use 16.
        rates: of the pyramid's three atrous convolutions, at the output stride; by default the authors' 6, 12, 18 at 16, and
            in proportion. A filter whose outer weights lie beyond the feature map of a crop is trained at its centre alone,
            and adds noise where images are larger than crops: at most the map's sides minus 1.
        low_levels: strides of the backbone's maps that the decoder takes beside the pyramid's, each projected by a 1x1 and
            brought to the first one's size: stride 4 alone in the paper; Panoptic-DeepLab (Cheng et al., CVPR 2020) adds 8.
            At output stride 32 the map at 16 holds much that the last one has lost.
        align_corners: of the decoder's bilinear upsampling; the authors' code has True.
        convolutions: the 3x3 ones of pyramid and classifier: ``plain`` as in the ReCo authors' code, or ``separable`` as in
            the paper (one filter per channel, then a 1x1, each with batch normalisation and ReLU).
        decoder_width: channels of the pyramid and of the classifier's hidden layer; by default the authors' 256, and 48 for
            `tiny`.
        classifier_convolutions: 3x3 ones before the last layer: 1 as in the ReCo authors' code, 2 as in the paper and the
            UniMatch family of papers.
    """

    output_stride: Literal[8, 16, 32] = 16
    rates: Annotated[
        tuple[PositiveInt, PositiveInt, PositiveInt] | None, Field(json_schema_extra={"identity": "non-default"})
    ] = None
    low_levels: Annotated[
        tuple[Literal[4, 8, 16], ...], Field(min_length=1, json_schema_extra={"identity": "non-default"})
    ] = (4,)
    align_corners: bool = True
    convolutions: Annotated[Convolutions, Field(json_schema_extra={"identity": "non-default"})] = "plain"
    decoder_width: Annotated[int | None, Field(ge=8, le=4096, json_schema_extra={"identity": "non-default"})] = None
    classifier_convolutions: Annotated[Literal[1, 2], Field(json_schema_extra={"identity": "non-default"})] = 1


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _conv3(kind: Convolutions, inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    if kind == "plain":
        return _conv(inputs, outputs, 3, dilation)
    return nn.Sequential(_conv(inputs, inputs, 3, dilation, groups=inputs), _conv(inputs, outputs, 1))


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1, three dilated 3x3 convolutions and image pooling, then a projection."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...], kind: Convolutions = "plain") -> None:
        super().__init__()
        dilated = (_conv3(kind, inputs, outputs, rate) for rate in rates)
        self.branches = nn.ModuleList([_conv(inputs, outputs, 1), *dilated])
        self.pool = _conv(inputs, outputs, 1)
        self.project = _conv((len(rates) + 2) * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self._pooled(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        pooled_and_dilated = torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1)
        output: Tensor = self.project(pooled_and_dilated)
        return output

    def _pooled(self, mean: Tensor) -> Tensor:
        """Return the features of the mean pixel (B, C, 1, 1); several processes may have one image each."""
        try:
            pooled: Tensor = self.pool(mean)
        except ValueError as error:
            if "more than 1 value" not in str(error):
                raise
            raise BenchError(
                "DeepLabV3+ cannot train on one image at a time (its image pooling is normalised over the batch): "
                "use a (micro-)batch of at least 2 images"
            ) from None
        return pooled


@register("network", "deeplabv3plus")
class DeepLabV3Plus(nn.Module):
    """DeepLabV3+, as in the ReCo authors' code by default.

    Attributes:
        num_classes: K.
        feature_channels: channels of the decoder features, 304 by default (72 for `tiny`).
    """

    Config = DeepLabV3PlusConfig

    def __init__(self, config: DeepLabV3PlusConfig, num_classes: int) -> None:
        super().__init__()
        widths = _TINY if config.backbone == "tiny" else _AUTHORS
        widths = widths._replace(pyramid=config.decoder_width or widths.pyramid)
        rates = config.rates or tuple(rate * 16 // config.output_stride for rate in _RATES)
        self.config = config
        self.num_classes = num_classes
        self.feature_channels = widths.pyramid + widths.low * len(config.low_levels)
        self.backbone = backbone_of(config, config.output_stride)
        low, *others = [self.backbone.channels[_STRIDES.index(stride)] for stride in config.low_levels]
        self.pyramid = _Pyramid(self.backbone.channels[-1], widths.pyramid, rates, config.convolutions)
        self.project = _conv(low, widths.low, 1)
        self.project_others = nn.ModuleList(_conv(channels, widths.low, 1) for channels in others)
        hidden = [self.feature_channels, *[widths.pyramid] * config.classifier_convolutions]
        convs = [_conv3(config.convolutions, a, b) for a, b in pairwise(hidden)]
        self.classifier = nn.Sequential(*convs, nn.Conv2d(widths.pyramid, num_classes, 1))

    def features(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to decoder features (B, feature_channels, ceil(H/4), ceil(W/4))."""
        return self.decode(self.encode(image))

    def encode(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W) in [0, 1] to the feature maps that the decoder takes: of `low_levels`, and the last stage's."""
        maps = self.backbone(image)
        return [*(maps[_STRIDES.index(stride)] for stride in self.config.low_levels), maps[-1]]

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Feature maps as :meth:`encode` gives them, perturbed perhaps, to decoder features (see :meth:`features`)."""
        low, *others, high = maps
        low = self.project(low)
        coarse = [*(project(x) for project, x in zip(self.project_others, others, strict=True)), self.pyramid(high)]
        finer = (bilinear(x, low.shape[2:], align_corners=self.config.align_corners) for x in coarse)
        return torch.cat((low, *finer), dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Decoder features to class scores (logits), (B, num_classes, ceil(H/4), ceil(W/4))."""
        logits: Tensor = self.classifier(features)
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to class scores (B, num_classes, ceil(H/4), ceil(W/4))."""
        return self.classify(self.features(image))
