"""Parts of a backbone that training leaves as they are: batch normalisation, or whole stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from methods.networks.backbone import Backbone

BatchNorm = Literal["train", "frozen"]
AnyBatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
_PROBE = (1, 3, 64, 96)  # an image that shows which module feeds which


class FoldedConv(nn.Module):
    """A convolution with the fixed batch normalisation behind it multiplied in: the same function in one pass.

    With w, b the convolution's own weight and bias (trained), and fixed g, s, m, v (scale, shift, mean, variance):
    ``conv(x; w g / sqrt(v + eps), s + (b - m) g / sqrt(v + eps))``. The gradient of w is that without folding.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, conv: nn.Conv2d, norm: AnyBatchNorm) -> None:
        super().__init__()
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None, "is_foldable says so"
        scale = (variance + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.detach())
        shift = -mean * scale + (0.0 if norm.bias is None else norm.bias.detach())
        self.conv = conv
        self.register_buffer("scale", scale.view(-1, *[1] * (conv.weight.dim() - 1)))
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised output of the convolution, (B, C, h, w)."""
        bias = self.shift if self.conv.bias is None else self.shift + self.conv.bias * self.scale.flatten()
        output: Tensor = functional_call(self.conv, {"weight": self.conv.weight * self.scale, "bias": bias}, (x,))
        return output


def fix(backbone: Backbone, batch_norm: BatchNorm, stages: int) -> None:
    """Fix what ``batch_norm: frozen`` and ``freeze_stages`` name, in place; nothing by default."""
    fixed: list[nn.Module] = []
    if stages:
        frozen = _weights_of_stages(backbone, stages)
        for weight in frozen:
            weight.requires_grad_(False)
        known = {id(weight) for weight in frozen}
        fixed += [module for child in backbone.children() for module in _whole_modules(child, known)]
    if batch_norm == "frozen":
        for norm in _norms(backbone):
            norm.requires_grad_(False)
        _fold(backbone)
        fixed += _norms(backbone)
    backbone.fixed = tuple(fixed)
    backbone.train(backbone.training)


def _norms(module: nn.Module) -> list[AnyBatchNorm]:
    return [found for found in module.modules() if isinstance(found, AnyBatchNorm)]


def _probe(backbone: Backbone) -> list[Tensor]:
    """Run a backbone on a black image, in evaluation mode, so that no state changes and nothing is drawn."""
    mode = backbone.training
    backbone.eval()
    try:
        maps: list[Tensor] = backbone(torch.zeros(_PROBE))
        return maps
    finally:
        backbone.train(mode)


def _weights_of_stages(backbone: Backbone, stages: int) -> list[nn.Parameter]:
    """Return the weights on which the output of the last of the first `stages` stages depends: theirs and the stem's."""
    weights = list(backbone.parameters())
    with torch.enable_grad():
        output = _probe(backbone)[stages - 1]
        gradients = torch.autograd.grad(output.sum(), weights, allow_unused=True)
    return [weight for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None]


def _whole_modules(module: nn.Module, frozen: set[int]) -> list[nn.Module]:
    """Return the outermost modules all of whose weights are frozen, and that have any."""
    weights = [id(weight) for weight in module.parameters()]
    if weights and frozen.issuperset(weights):
        return [module]
    return [found for child in module.children() for found in _whole_modules(child, frozen)]


def _fold(backbone: Backbone) -> None:
    """Multiply each batch normalisation into the convolution that alone feeds it; the others stay, in evaluation mode."""
    homes = {id(child): (home, name) for home in backbone.modules() for name, child in home.named_children()}
    for conv, norm in list(_pairs(backbone)):
        home, name = homes[id(conv)]
        setattr(home, name, FoldedConv(conv, norm))
        home, name = homes[id(norm)]
        setattr(home, name, _after(norm))


def _after(norm: AnyBatchNorm) -> nn.Module:
    """Return what a normalisation does besides: timm's have an activation of their own."""
    extra = [child for child in norm.children() if not isinstance(child, nn.Identity)]
    return nn.Sequential(*extra) if extra else nn.Identity()


def _pairs(backbone: Backbone) -> Iterator[tuple[nn.Conv2d, AnyBatchNorm]]:
    """Yield each convolution with the normalisation that takes its output as it is."""
    made: dict[int, nn.Conv2d] = {}
    outputs: list[Tensor] = []  # kept, so that their ids stay theirs
    found: dict[int, tuple[nn.Conv2d, AnyBatchNorm]] = {}

    def after_conv(conv: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        outputs.append(output)
        made[id(output)] = conv

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, AnyBatchNorm)
        conv = made.get(id(inputs[0]))
        if conv is not None and norm.running_mean is not None:
            found[id(norm)] = (conv, norm)

    convs = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    hooks = [conv.register_forward_hook(after_conv) for conv in convs]
    hooks += [norm.register_forward_pre_hook(before_norm) for norm in _norms(backbone)]
    try:
        with torch.no_grad():
            _probe(backbone)
    finally:
        for hook in hooks:
            hook.remove()
    convs_used = [id(conv) for conv, _ in found.values()]
    return iter(pair for pair in found.values() if convs_used.count(id(pair[0])) == 1)
