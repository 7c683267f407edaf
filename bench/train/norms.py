"""Batch normalisation where a batch is divided: over processes, or into parts that have statistics of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.train.group import Group

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def divide_norms(method: nn.Module, parts: int, group: Group | None) -> None:
    """Give a method's batch normalisations the statistics of the recipe, whatever number of processes trains it.

    Args:
        method: whose modules normalise; names and state stay as they are.
        parts: ``numerics.batch_norm_parts``, a multiple of the number of processes where it isn't 1.
        group: the processes; None for one alone.
    """
    if parts == 1 and group is None:
        return
    for module in method.modules():
        if isinstance(module, BatchNorm):
            run = _synchronised(module, group) if group is not None and parts == 1 else _in_parts(module, parts, group)
            module.forward = run  # type: ignore[method-assign,assignment]


def _synchronised(module: BatchNorm, group: Group) -> Callable[[Tensor], Tensor]:
    """Return a normalisation by the statistics of the images of all processes, as SyncBatchNorm's, on any device."""
    alone = module.forward

    def run(x: Tensor) -> Tensor:
        if not module.training or not group.within:
            return alone(x)
        output, mean, variance = _SynchronisedNorm.apply(x, module.weight, module.bias, module.eps, group)
        count = group.size * x.numel() // x.shape[1]
        _follow(module, mean, variance * (count / max(count - 1, 1)))
        normalised: Tensor = output
        return normalised

    return run


def _in_parts(module: BatchNorm, parts: int, group: Group | None) -> Callable[[Tensor], Tensor]:
    """Return a normalisation by the statistics of each part of a batch; the running ones follow the first part's.

    The i-th of n parts has every n-th image from the i-th on, as the processes of a group do.
    """
    alone = module.forward

    def run(x: Tensor) -> Tensor:
        if not module.training:
            return alone(x)
        divided = group is not None and group.within
        here = parts // group.size if group is not None and divided else parts
        statistics = x.new_zeros((2, x.shape[1]), dtype=torch.promote_types(x.dtype, torch.float32))
        outputs = []
        for i in range(here):
            # With a momentum of 1 they become those of the part.
            mean, variance = statistics if i == 0 else torch.zeros_like(statistics)
            outputs.append(F.batch_norm(x[i::here], mean, variance, module.weight, module.bias, True, 1.0, module.eps))
        if group is not None and divided:
            group.from_first(statistics)
        _follow(module, *statistics)
        return torch.stack(outputs, 1).flatten(0, 1)

    return run


@torch.no_grad()
def _follow(module: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics of a module, which has any, towards those of a batch, as torch does."""
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    weight = 1 / float(module.num_batches_tracked) if module.momentum is None else module.momentum
    module.running_mean.mul_(1 - weight).add_(mean.to(module.running_mean.dtype), alpha=weight)
    module.running_var.mul_(1 - weight).add_(variance.to(module.running_var.dtype), alpha=weight)


def _sizes(x: Tensor) -> tuple[list[int], list[int]]:
    """Return the dimensions over which statistics go, and the shape in which those of C channels are multiplied."""
    return [d for d in range(x.ndim) if d != 1], [1, -1, *[1] * (x.ndim - 2)]


class _SynchronisedNorm(torch.autograd.Function):
    """Normalises by mean and variance over all processes, of which each has equally many values."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Group
    ) -> tuple[Tensor, Tensor, Tensor]:
        over, shape = _sizes(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, over, correction=0)
        means, variances = group.gather(torch.stack((mean, variance))[None]).unbind(1)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.group, ctx.has_bias = group, bias is not None
        ctx.mark_non_differentiable(mean, variance)
        output = (exact - mean.view(shape)) * scale.view(shape)
        if weight is not None:
            output = output * weight.view(shape)
        if bias is not None:
            output = output + bias.view(shape)
        return output.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        over, shape = _sizes(x)
        exact = gradient.to(mean.dtype)
        normal = (x.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        sums = torch.stack((exact.sum(over), (exact * normal).sum(over)))
        means = ctx.group.mean(sums) * (x.shape[1] / x.numel())
        inner = exact - means[0].view(shape) - normal * means[1].view(shape)
        factor = scale if weight is None else scale * weight
        of_x = (inner * factor.view(shape)).to(x.dtype)
        return of_x, sums[1] if weight is not None else None, sums[0] if ctx.has_bias else None, None, None
