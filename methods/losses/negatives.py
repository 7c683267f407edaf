"""The log-sum-exp over sampled negative keys, where a contrastive loss on pixels spends its time.

Each of T queries has N keys of its own, drawn from P rows. At ReCo's setting that is 2.75 million keys of 256-d: 2.8 GB
if gathered. The gradient of the log-sum-exp with respect to its query is the softmax-weighted mean of the query's keys,
so it is computed along with the value, and only (T, D) is kept between forward and backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bench import kernels
from methods.torch_private import row_products


def negatives_logsumexp(query: Tensor, keys: Tensor, scale: Tensor, index: Tensor) -> Tensor:
    """Return the log-sum-exp over n of ``scale[index[t, n]] * <query[t], keys[index[t, n]]>``, shape (T,).

    Args:
        query: (T, D) float32 or float64; the only argument that receives a gradient.
        keys: (P, D), same dtype.
        scale: (P,), the factor of each row: 1 / (temperature × norm) makes a cosine similarity of the dot product.
        index: (T, N) int32, the rows drawn for each query, in [0, P).
    """
    value: Tensor = _NegativesLogSumExp.apply(query, keys, scale, index)
    return value


class _NegativesLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, scale: Tensor, index: Tensor) -> Tensor:
        value, gradient = bag_kernel(query, keys, scale, index)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad.unsqueeze(1) * gradient, None, None, None


def bag_kernel(query: Tensor, keys: Tensor, scale: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Read the keys in place; return the log-sum-exp (T,) and its gradient with respect to the queries (T, D).

    ``embedding_bag``'s weighted sum is the gradient, and the gradient of *its* weights is the dot products.
    """
    factor = scale.index_select(0, index.flatten()).view(index.shape)
    logits = _dot_products(query, keys, index).mul_(factor)
    value = logits.logsumexp(1)
    weight = logits.sub_(value.unsqueeze(1)).exp_().mul_(factor)
    return value, F.embedding_bag(index, keys, per_sample_weights=weight, mode="sum")


def _dot_products(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """Return ``<query[t], keys[index[t, n]]>``, (T, N).

    A CPU visits the pairs in the order of the keys. The operator does not prefetch: in the order of the queries it waits
    for memory at nearly every key once the keys exceed the last-level cache, which takes about 4 times as long. A GPU has
    other pairs to work on meanwhile, and sorting would take longer than the products.
    """
    if kernels.kind(index.device) == "cuda":
        bag = torch.arange(index.numel(), dtype=index.dtype, device=index.device).floor_divide_(index.shape[1])
        return row_products(query, keys, index.flatten(), bag).view(index.shape)
    key, order = index.flatten().sort()
    bag = order.to(key.dtype).floor_divide_(index.shape[1])
    dot = row_products(query, keys, key, bag)
    return torch.empty_like(dot).scatter_(0, order, dot).view(index.shape)
