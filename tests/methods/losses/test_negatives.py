"""The two kernels of the negatives' log-sum-exp against autograd on gathered keys."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.losses import negatives
from methods.losses.negatives import bag_kernel, gather_kernel, negatives_logsumexp


def kernel_inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    query, keys = torch.randn(7, 5, generator=g, dtype=dtype), torch.randn(30, 5, generator=g, dtype=dtype)
    index = torch.randint(30, (7, 11), generator=g, dtype=torch.int32)
    return query.requires_grad_(), keys, torch.rand(30, generator=g, dtype=dtype), index


@pytest.mark.parametrize("kernel", [bag_kernel, gather_kernel])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_kernels_equal_autograd(
    kernel: Any, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, keys, scale, index = kernel_inputs(dtype)
    monkeypatch.setattr(negatives, "_CHUNK_BYTES", 3 * 11 * 5 * keys.element_size())  # 3 queries: chunks of 3, 3, 1
    want = (query.unsqueeze(1) * keys[index] * scale[index].unsqueeze(2)).sum(2).logsumexp(1)
    value, gradient = kernel(query.detach(), keys, scale, index)
    torch.testing.assert_close(value, want.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient, torch.autograd.grad(want.sum(), query)[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", [bag_kernel, gather_kernel])
def test_gradcheck(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negatives, "bag_kernel", kernel)  # the one that the CPU takes
    query, keys, scale, index = kernel_inputs(torch.float64)
    assert torch.autograd.gradcheck(partial(negatives_logsumexp, keys=keys, scale=scale, index=index), (query,))
