"""Backbones from timm: any of its models that gives features at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from methods.base import IMAGENET_MEAN, IMAGENET_STD
from methods.networks import weights as weights_files
from methods.networks.backbone import Backbone
from methods.networks.timm_weights import TIMM, library
from methods.networks.weight_files import load_into
from methods.torch_private import built_with_values

STRIDES = (4, 8, 16, 32)
_PROBE = (1, 3, 75, 98)  # no multiple of anything, as images are


@dataclass(frozen=True)
class Facts:
    """What a backbone needs to know of a timm model.

    Attributes:
        indices: which of its features are those of the four stages.
        channels: of these.
        mean, std: of the images that its weights were trained on, per channel, for images in [0, 1].
        channels_last: whether its features are (B, H, W, C), as those of some transformers.
    """

    indices: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels_last: bool


def _features(name: str, output_stride: int, indices: Sequence[int] | None = None, **options: Any) -> Any:
    """Return a model's features. Raises BenchError if timm has no such model, or it has no features or stride."""
    timm = library()
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:3]
        known = f"; near it: {', '.join(near)}" if near else ""
        raise BenchError(f"backbone timm/{name}: timm {timm.__version__} has no model of that name{known}")
    options |= {} if indices is None else {"out_indices": tuple(indices)}
    options |= {} if output_stride == STRIDES[-1] else {"output_stride": output_stride}
    try:
        return built_with_values(lambda: timm.create_model(name, features_only=True, **options))
    except Exception as error:  # each of its models refuses in its own way
        stride = f" at output stride {output_stride} (use 32)" if "output_stride" in options else ""
        raise BenchError(f"backbone timm/{name}: timm gives no features of it{stride}: {_line(error)}") from None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


@lru_cache(maxsize=64)
def facts(name: str, output_stride: int) -> Facts:
    """Return what a backbone needs to know of a timm model; it is built once to find out.

    Args:
        name: timm's, with a tag or without.
        output_stride: 8, 16 or 32.

    Raises:
        BenchError: if it can't be a backbone at that output stride, or timm isn't installed.
    """
    with torch.random.fork_rng(devices=[]):
        strides = list(_features(name, STRIDES[-1]).feature_info.reduction())
        if missing := [stride for stride in STRIDES if stride not in strides]:
            raise BenchError(
                f"backbone timm/{name}: its features are at strides {', '.join(map(str, strides))}; a backbone needs "
                f"4, 8, 16 and 32 (none at {', '.join(map(str, missing))})"
            )
        indices = tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES)
        net = _features(name, output_stride, indices)
    wanted = [min(stride, output_stride) for stride in STRIDES]
    if list(net.feature_info.reduction()) != wanted:
        raise BenchError(f"backbone timm/{name}: timm can't dilate it to output stride {output_stride}; use 32")
    channels = tuple(net.feature_info.channels())
    trained = library().get_pretrained_cfg(name)
    mean, std = (tuple(trained.mean), tuple(trained.std)) if trained else (IMAGENET_MEAN, IMAGENET_STD)
    return Facts(indices, channels, mean, std, _look(net, name, channels))


def _look(net: nn.Module, name: str, channels: tuple[int, ...]) -> bool:
    """Return whether features are channels-last. Raises BenchError if the model takes images of one size only."""
    try:
        with torch.no_grad():
            shapes = [tuple(x.shape) for x in net.eval()(torch.zeros(_PROBE))]
    except Exception as error:
        raise BenchError(
            f"backbone timm/{name}: doesn't take images of any size, as crops and evaluation need: {_line(error)}"
        ) from None
    if [shape[1] for shape in shapes] == list(channels):
        return False
    if [shape[-1] for shape in shapes] == list(channels):
        return True
    raise BenchError(f"backbone timm/{name}: its features have shapes {shapes}, not {channels} channels")


class TimmBackbone(Backbone):
    """A timm model as a backbone."""

    def __init__(self, net: nn.Module, found: Facts) -> None:
        super().__init__(found.channels, found.mean, found.std)
        self.net = net
        self.channels_last = found.channels_last

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' outputs of a normalised image, finest first."""
        outputs = self.net(x)
        return [y.permute(0, 3, 1, 2).contiguous() for y in outputs] if self.channels_last else list(outputs)


def build_timm(name: str, output_stride: int, weights: str) -> TimmBackbone:
    """Return a timm model as a backbone.

    Raises:
        BenchError: see :func:`facts`; and if weights are missing, damaged or don't fit.
    """
    found = facts(name, output_stride)
    options: dict[str, Any] = {}
    if weights != "none":
        options = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": _fitting(name, weights)}}
    return TimmBackbone(_features(name, output_stride, found.indices, **options), found)


def _fitting(name: str, weights: str) -> dict[str, Tensor]:
    """Return weights for timm, which by itself passes over keys that are missing. Raises BenchError if they don't fit."""
    with torch.random.fork_rng(devices=[]):
        whole = built_with_values(lambda: library().create_model(name))
    classifier = library().get_pretrained_cfg(name).classifier or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    state = weights_files.load(weights, f"{TIMM}{name}")
    load_into(whole, state, tuple(f"{head}." for head in heads), weights)
    return dict(whole.state_dict())
