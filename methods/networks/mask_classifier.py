"""A mask-classification network: queries that each predict one region, as a class and a mask, instead of pixel scores.

Source: Cheng et al., MaskFormer, NeurIPS 2021, with torchvision's FeaturePyramidNetwork as the pixel decoder. As in
Mask2Former (CVPR 2022) the queries attend to several scales and every decoder layer predicts. This project's choices,
with which it trains from scratch under the recipes' SGD: pre-normalised layers, no dropout, mask logits divided by the
square root of their C products (without which SGD at a rate of 0.05 diverges), and the sizes for `tiny`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from bench.errors import BenchError
from bench.registry import register
from bench.resize import bilinear
from methods.networks.backbones import BackboneConfig, backbone_of


class Widths(NamedTuple):
    """Channels of the pixel decoder and of the queries, attention heads, and default numbers of queries and layers."""

    hidden: int
    heads: int
    queries: int
    layers: int


_AUTHORS = Widths(256, 8, 32, 3)
_TINY = Widths(64, 4, 16, 2)
_GROUP = 8  # channels per group of a normalisation; MaskFormer has 32 groups of 256 channels
_PERIOD = 10_000.0  # largest period of the sine position encoding, in units of a scale's cells


class MaskClassifierConfig(BackboneConfig):
    """Options of the mask classifier, those of its backbone included (see ``BackboneConfig``).

    Attributes:
        output_stride: of the backbone; MaskFormer has 32.
        queries: N, regions per image at most; MaskFormer has 100. By default 32 (16 for `tiny`), this project's choice.
        layers: of the transformer decoder; MaskFormer has 6. By default 3 (2 for `tiny`), this project's choice.
        decoder_width: channels of the pixel decoder and of the queries, a multiple of 32; MaskFormer has 256. By default
            that, and 64 for `tiny`.
    """

    output_stride: Literal[8, 16, 32] = 32
    queries: PositiveInt | None = None
    layers: PositiveInt | None = None
    decoder_width: Annotated[
        int | None, Field(ge=32, le=4096, multiple_of=32, json_schema_extra={"identity": "non-default"})
    ] = None

    def needed_modules(self) -> tuple[str, ...]:
        """Return the library of the backbone, and torchvision, whose feature pyramid is the pixel decoder."""
        return tuple(dict.fromkeys((*super().needed_modules(), "torchvision")))


class Masks(NamedTuple):
    """What the network says about B images, N regions each, after each of L decoder layers.

    Attributes:
        classes: class scores (logits), (L, B, N, K + 1); the last class is "no object".
        masks: mask logits, (L, B, N, h, w): the inner products of mask embeddings and pixel features, over the root of C.
        pixels: the pixel decoder's features, (B, C, h, w).
    """

    classes: Tensor
    masks: Tensor
    pixels: Tensor

    def of_images(self, part: slice) -> Masks:
        """Return what is said about some of the images."""
        return Masks(self.classes[:, part], self.masks[:, part], self.pixels[part])


def semantic_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """Marginalise regions to per-pixel scores: the sum over regions of class probability times mask probability.

    Source: MaskFormer, section 3.4 (semantic inference).

    Args:
        classes: logits (B, N, K + 1); "no object" is dropped after the softmax.
        masks: logits (B, N, h, w).

    Returns:
        (B, K, h, w) float32, 0 or larger.
    """
    with torch.autocast(classes.device.type, enabled=False):
        return torch.einsum("bnk,bnhw->bkhw", classes.float().softmax(-1)[..., :-1], masks.float().sigmoid())


def sine_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Return sine position encodings (height·width, channels): half of the channels for y, half for x.

    Source: Carion et al., DETR, ECCV 2020 (Vaswani et al. in two dimensions).
    """
    quarter = channels // 4
    rates = _PERIOD ** -(torch.arange(quarter, device=device) / quarter)

    def encode(length: int) -> Tensor:
        angles = torch.arange(1, length + 1, device=device)[:, None] * rates
        return torch.cat((angles.sin(), angles.cos()), 1)

    y = encode(height)[:, None].expand(height, width, 2 * quarter)
    x = encode(width)[None].expand(height, width, 2 * quarter)
    return torch.cat((y, x), 2).flatten(0, 1)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // _GROUP, channels)


def _decoder_layer(hidden: int, heads: int) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer(hidden, heads, 4 * hidden, dropout=0.0, batch_first=True, norm_first=True)


@register("network", "mask_classifier")
class MaskClassifier(nn.Module):
    """Mask classification: a set of regions per image, for methods that compare regions.

    Attributes:
        num_classes: K.
        feature_channels: C, channels of the pixel features and width of the queries: 256 (64 for `tiny`).
        batch_dimensions: in which dimensions of what it returns the images are, for several processes to share them.
    """

    Config = MaskClassifierConfig
    batch_dimensions: ClassVar[dict[str, tuple[int, ...]]] = {"regions": (1, 1, 0)}

    def __init__(self, config: MaskClassifierConfig, num_classes: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork  # takes two seconds; planning doesn't need it

        super().__init__()
        widths = _TINY if config.backbone == "tiny" else _AUTHORS
        hidden = config.decoder_width or widths.hidden
        self.config = config
        self.num_classes = num_classes
        self.feature_channels = hidden
        self.backbone = backbone_of(config, config.output_stride)
        self.pyramid = FeaturePyramidNetwork(list(self.backbone.channels), hidden, norm_layer=_norm)
        self.pixel_head = nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, hidden, 1))
        self.scale = nn.Embedding(len(self.backbone.channels) - 1, hidden)
        self.queries = nn.Embedding(config.queries or widths.queries, hidden)
        # Not torch's TransformerDecoder: it makes its layers as copies of one, and returns the last output only.
        self.decoder = nn.ModuleList(
            _decoder_layer(hidden, widths.heads) for _ in range(config.layers or widths.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.class_head = nn.Linear(hidden, num_classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )

    def _memory(self, levels: list[Tensor]) -> Tensor:
        """Return what the queries attend to: all positions of the coarser scales, (B, positions, hidden)."""
        tokens = []
        for level, scale in zip(levels, self.scale.weight, strict=True):
            places = sine_positions(level.shape[2], level.shape[3], level.shape[1], level.device)
            tokens.append(level.flatten(2).transpose(1, 2) + places + scale)
        return torch.cat(tokens, 1)

    def regions(self, image: Tensor) -> Masks:
        """Image (B, 3, H, W) in [0, 1] to its regions, the masks at ceil(H/4) x ceil(W/4)."""
        outputs = self.backbone(image)
        finest, *coarser = self.pyramid(OrderedDict((str(i), x) for i, x in enumerate(outputs))).values()
        pixels = self.pixel_head(finest)
        memory = self._memory(coarser)
        state = self.queries.weight.expand(len(image), -1, -1)
        states = []
        for layer in self.decoder:
            state = layer(state, memory)
            states.append(self.norm(state))
        every = torch.stack(states)
        embeddings = self.mask_head(every) * pixels.shape[1] ** -0.5
        masks = torch.einsum("lbnc,bchw->lbnhw", embeddings, pixels)
        return Masks(self.class_head(every), masks, pixels)

    def features(self, image: Tensor) -> Tensor:
        """Not offered: there are no pixel features from which pixels alone could be classified. Raises BenchError."""
        raise BenchError(
            "network 'mask_classifier' predicts regions, not pixels: use 'deeplabv3plus' for this method "
            "(methods on regions, such as rc2l, replace it themselves)"
        )

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to per-pixel scores (B, num_classes, H, W) (see :func:`semantic_scores`).

        Mask logits are upsampled first, as in MaskFormer, so that edges between regions fall between cells.
        """
        found = self.regions(image)
        size = image.shape[2:]
        masks = bilinear(found.masks[-1].float(), size, align_corners=False)
        return semantic_scores(found.classes[-1], masks)
