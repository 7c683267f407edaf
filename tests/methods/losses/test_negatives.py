"""The CPU's and the GPU's version of the negatives' log-sum-exp, both here on a CPU, against autograd on gathered keys."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from bench import kernels
from methods.losses.negatives import bag_kernel, negatives_logsumexp


def kernel_inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    query, keys = torch.randn(7, 5, generator=g, dtype=dtype), torch.randn(30, 5, generator=g, dtype=dtype)
    index = torch.randint(30, (7, 11), generator=g, dtype=torch.int32)
    return query.requires_grad_(), keys, torch.rand(30, generator=g, dtype=dtype), index


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_kernels_equal_autograd(device_type: str, dtype: torch.dtype, tolerance: float) -> None:
    query, keys, scale, index = kernel_inputs(dtype)
    want = (query.unsqueeze(1) * keys[index] * scale[index].unsqueeze(2)).sum(2).logsumexp(1)
    with kernels.assuming(device_type):
        value, gradient = bag_kernel(query.detach(), keys, scale, index)
    torch.testing.assert_close(value, want.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient, torch.autograd.grad(want.sum(), query)[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_gradcheck(device_type: str) -> None:
    query, keys, scale, index = kernel_inputs(torch.float64)
    with kernels.assuming(device_type):
        assert torch.autograd.gradcheck(partial(negatives_logsumexp, keys=keys, scale=scale, index=index), (query,))
