"""DPT on a vision transformer: tokens of four of its blocks, brought to four scales and fused from coarse to fine.

Source: Ranftl, Bochkovskiy and Koltun, Vision Transformers for Dense Prediction, ICCV 2021 (arXiv 2103.13413), section 3, in
the widths of Yang et al., UniMatch V2 (arXiv 2410.10777). See ``docs/differences.md``.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config import Config
from bench.errors import BenchError
from bench.registry import register
from bench.resize import bilinear
from methods.networks import weights as weights_files
from methods.networks.timm_weights import TIMM

Blocks = tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt, NonNegativeInt]
Channels = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]


class _Size(NamedTuple):
    """The decoder's width, the channels of its four scales, and the blocks whose tokens it takes."""

    width: int
    channels: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]


# UniMatch V2's choice for the larger DINOv2, by the transformer's width; for the others, see _size_of.
_LARGER = {
    1024: _Size(256, (256, 512, 1024, 1024), (4, 11, 17, 23)),
    1536: _Size(384, (1536, 1536, 1536, 1536), (9, 19, 29, 39)),
}


def _size_of(width: int, depth: int) -> _Size:
    """Return the decoder's size for a transformer: of 384 and 768 channels and 12 blocks, UniMatch V2's."""
    if width in _LARGER and max(_LARGER[width].blocks) == depth - 1:
        return _LARGER[width]
    first, second, third, last = (max(depth * part // 4 - 1, 0) for part in (1, 2, 3, 4))
    channels = (max(width // 8, 1), max(width // 4, 1), max(width // 2, 1), width)
    return _Size(max(width // 6, 8), channels, (first, second, third, last))


class DPTConfig(Config):
    """Options of DPT. By default the decoder is as wide as UniMatch V2 has it for the transformer.

    Attributes:
        backbone: ``timm/NAME``, a plain vision transformer of timm (extra ``.[timm]``).
        weights: ``none`` (from scratch), ``imagenet`` (the file of ``weights fetch timm/NAME``, DINOv2's too) or a path.
            Only the file's name or hash takes part in a cell's identity.
        decoder_width: channels of the fused maps; a sixth of the transformer's for DINOv2 S and B.
        channels: of the four scales before they are fused, finest first.
        blocks: after which of the transformer's blocks tokens are taken, from 0; by default after each quarter of them.
    """

    backbone: str = "timm/vit_base_patch14_dinov2"
    weights: str = "none"
    decoder_width: Annotated[int | None, Field(ge=8, le=4096)] = None
    channels: Channels | None = None
    blocks: Blocks | None = None

    @field_validator("backbone")
    @classmethod
    def _of_timm(cls, name: str) -> str:
        if not name.startswith(TIMM):
            raise ValueError(
                f"'{name}': 'dpt' takes vision transformers of timm, such as {TIMM}vit_small_patch14_dinov2"
            )
        return name

    @model_validator(mode="after")
    def _exists(self) -> DPTConfig:
        from methods.networks.vit_backbone import vit_facts  # an extra, which takes seconds

        try:
            depth = vit_facts(self.name).depth
            if weights_files.is_imagenet(self.weights):
                weights_files.resolve(self.weights, self.backbone)
        except BenchError as error:
            raise ValueError(str(error)) from None
        if self.blocks is not None and (list(self.blocks) != sorted(set(self.blocks)) or self.blocks[-1] >= depth):
            raise ValueError(f"blocks: expected four rising numbers below {depth}, not {self.blocks}")
        return self

    @property
    def name(self) -> str:
        """The transformer's name in timm."""
        return self.backbone.removeprefix(TIMM)

    def identity(self) -> dict[str, Any]:
        """Return the options with the weights' fingerprint instead of their path."""
        return {**super().identity(), "weights": weights_files.fingerprint(self.weights, self.backbone)}

    def needed_files(self) -> dict[str, str]:
        """Return the file of the weights, and the command that puts it in place."""
        return weights_files.needs(self.weights, self.backbone)

    def needed_modules(self) -> tuple[str, ...]:
        """Return the library of the transformer."""
        return ("timm",)


class _Residual(nn.Module):
    """Two 3x3 convolutions, an activation before each, added to what comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.second(F.relu(self.first(F.relu(x))))
        return added


class _Fusion(nn.Module):
    """Adds a finer map to the coarser ones' sum, and brings it to the next scale."""

    def __init__(self, width: int, coarsest: bool) -> None:
        super().__init__()
        self.own = None if coarsest else _Residual(width)
        self.both = _Residual(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, finer: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Return maps of a (height, width); `x` is the sum so far."""
        if finer is not None and self.own is not None:
            x = x + self.own(finer)
        fused: Tensor = self.project(bilinear(self.both(x), size, align_corners=True))
        return fused


@register("network", "dpt")
class DPT(nn.Module):
    """A vision transformer of timm with DPT's decoder, as in UniMatch V2 by default.

    Attributes:
        num_classes: K.
        feature_channels: channels of the decoder features, `decoder_width`.
    """

    Config = DPTConfig

    def __init__(self, config: DPTConfig, num_classes: int) -> None:
        from methods.networks.vit_backbone import build_vit, vit_facts

        super().__init__()
        found = vit_facts(config.name)
        size = _size_of(found.width, found.depth)
        width, channels = config.decoder_width or size.width, config.channels or size.channels
        self.config, self.num_classes, self.feature_channels = config, num_classes, width
        self.backbone = build_vit(config.name, config.blocks or size.blocks, config.weights)
        self.projects = nn.ModuleList(nn.Conv2d(found.width, one, 1) for one in channels)
        first, second, _, last = channels
        self.scales = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, 4),
                nn.ConvTranspose2d(second, second, 2, 2),
                nn.Identity(),
                nn.Conv2d(last, last, 3, 2, 1),
            ]
        )
        self.narrow = nn.ModuleList(nn.Conv2d(one, width, 3, padding=1, bias=False) for one in channels)
        self.fusions = nn.ModuleList(_Fusion(width, coarsest=number == 3) for number in range(4))
        self.classifier = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, num_classes, 1)
        )

    def features(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to decoder features (B, feature_channels, 8h, 8w) of h x w patches."""
        return self.decode(self.encode(image))

    def encode(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W) in [0, 1] to the tokens of four blocks, as maps (B, D, h, w)."""
        maps: list[Tensor] = self.backbone(image)
        return maps

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Maps as :meth:`encode` gives them, perturbed perhaps, to decoder features (see :meth:`features`)."""
        parts = zip(maps, self.projects, self.scales, self.narrow, strict=True)
        scaled = [narrow(scale(project(x))) for x, project, scale, narrow in parts]
        sizes = [(x.shape[2], x.shape[3]) for x in scaled]
        finest = sizes[0]
        targets = [(2 * finest[0], 2 * finest[1]), *sizes[:3]]
        fused: Tensor = self.fusions[3](scaled[3], None, targets[3])
        for number in (2, 1, 0):
            fused = self.fusions[number](fused, scaled[number], targets[number])
        return fused

    def classify(self, features: Tensor) -> Tensor:
        """Decoder features to class scores (logits), (B, num_classes, 8h, 8w)."""
        logits: Tensor = self.classifier(features)
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] to class scores (B, num_classes, 8h, 8w) of h x w patches."""
        return self.classify(self.features(image))
