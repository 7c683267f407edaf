"""Vision transformers of timm as encoders: the tokens of some of their blocks, as maps of one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.resize import bilinear
from methods.base import IMAGENET_MEAN, IMAGENET_STD
from methods.networks import weights as weights_files
from methods.networks.backbone import Backbone
from methods.networks.timm_weights import TIMM, library
from methods.networks.weight_files import load_into
from methods.torch_private import built_with_values

_PARTS = ("patch_embed", "pos_embed", "cls_token", "pos_drop", "norm_pre", "blocks", "norm", "num_prefix_tokens")


@dataclass(frozen=True)
class VitFacts:
    """What a decoder needs to know of a transformer.

    Attributes:
        width: channels of its tokens.
        depth: number of its blocks.
        patch: side of its patches in pixels.
    """

    width: int
    depth: int
    patch: int


def _create(name: str) -> Any:
    """Return timm's model without its classifier. Raises BenchError if it is no plain vision transformer."""
    timm = library()
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
        known = f"; near it: {', '.join(near)}" if near else ""
        raise BenchError(f"backbone timm/{name}: timm {timm.__version__} has no model of that name{known}")
    try:
        net = built_with_values(lambda: timm.create_model(name, num_classes=0, dynamic_img_size=True))
    except TypeError:
        net = None
    if net is None or any(not hasattr(net, part) for part in _PARTS) or net.pos_embed is None:
        raise BenchError(f"backbone timm/{name}: no plain vision transformer with position embeddings, as 'dpt' needs")
    return net


@lru_cache(maxsize=64)
def vit_facts(name: str) -> VitFacts:
    """Return what a decoder needs to know of a timm model, of which no weights are made.

    Raises:
        BenchError: if timm has no such model, or it is no plain vision transformer, or timm isn't installed.
    """
    with torch.device("meta"):
        net = _create(name)
    height, width = net.patch_embed.patch_size
    if height != width:
        raise BenchError(f"backbone timm/{name}: its patches are {height}x{width}, not square")
    return VitFacts(int(net.embed_dim), len(net.blocks), int(height))


def resampled(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Return embeddings of a grid (h, w, D) at another size: bicubic, antialiased, as timm does it.

    By two matrix products, because torch's own has no deterministic backward pass on CUDA.
    """
    with torch.autocast(grid.device.type, enabled=False):
        for axis, length in enumerate(size):
            own = grid.shape[axis]
            if torch.compiler.is_exporting() or own != length:
                unit = torch.eye(own, device=grid.device, dtype=torch.float32)[None, None]
                matrix = F.interpolate(unit, (length, own), mode="bicubic", antialias=True)[0, 0].to(grid.dtype)
                grid = torch.tensordot(matrix, grid, ([1], [axis])).movedim(0, axis)
    return grid


def patches(length: int, patch: int) -> int:
    """Return the number of patches nearest to a length, at least 1; of two, the even one: ``max(round(length / patch), 1)``.

    In integers, which an exported graph has operators for.
    """
    whole = length // patch
    count: int = torch.sym_max(whole + (2 * (length % patch) + whole % 2) // (patch + 1), 1)  # type: ignore[assignment]
    return count


class VitBackbone(Backbone):
    """A vision transformer's tokens after some of its blocks, normalised, as maps (B, D, h, w).

    Images are resized to the nearest multiple of the patch's size (bilinear), as the UniMatch V2 authors do to evaluate.
    """

    def __init__(
        self, net: Any, patch: int, blocks: Sequence[int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__((int(net.embed_dim),) * len(blocks), tuple(mean), tuple(std))
        self.net = net
        self.patch, self.after = patch, tuple(blocks)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of a normalised image, those of the first blocks first."""
        rows, columns = (patches(length, self.patch) for length in x.shape[2:])
        size = rows * self.patch, columns * self.patch
        if torch.compiler.is_exporting() or tuple(x.shape[2:]) != size:  # a graph for images of any size can't ask
            x = bilinear(x, size, align_corners=True)
        tokens, found = self._embedded(self.net.patch_embed(x)), []
        for number, block in enumerate(self.net.blocks):
            tokens = block(tokens)
            if number in self.after:
                seen = self.net.norm(tokens)[:, self.net.num_prefix_tokens :]
                found.append(seen.transpose(1, 2).unflatten(2, (rows, columns)))
        return found

    def _embedded(self, patches: Tensor) -> Tensor:
        """Return the tokens of patches (B, h, w, D): with positions, after those that stand for no patch."""
        net, (count, rows, columns) = self.net, patches.shape[:3]
        apart = 0 if net.no_embed_class else net.num_prefix_tokens
        position = net.pos_embed[0, apart:].unflatten(0, tuple(net.patch_embed.grid_size))
        tokens = (patches + resampled(position, (rows, columns))).flatten(1, 2)
        first = [token for token in (net.cls_token, getattr(net, "reg_token", None)) if token is not None]
        if first:
            prefix = torch.cat(first, dim=1) + (net.pos_embed[:, :apart] if apart else 0)
            tokens = torch.cat((prefix.expand(count, -1, -1).to(tokens.dtype), tokens), dim=1)
        embedded: Tensor = net.norm_pre(net.pos_drop(tokens))
        return embedded


def build_vit(name: str, blocks: Sequence[int], weights: str) -> VitBackbone:
    """Return a vision transformer of timm as an encoder, from scratch or from weights.

    Args:
        name: timm's, with a tag or without.
        blocks: after which its tokens are taken, from 0.
        weights: see ``methods.networks.backbones.BackboneConfig``.

    Raises:
        BenchError: see :func:`vit_facts`; and if weights are missing, damaged or don't fit.
    """
    net, trained = _create(name), library().get_pretrained_cfg(name)
    if weights != "none":
        classifier = (trained.classifier if trained else None) or "head"
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load_into(net, weights_files.load(weights, f"{TIMM}{name}"), tuple(f"{head}." for head in heads), weights)
    mean, std = (trained.mean, trained.std) if trained else (IMAGENET_MEAN, IMAGENET_STD)
    return VitBackbone(net, vit_facts(name).patch, blocks, mean, std)
