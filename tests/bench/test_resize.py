"""The matrix products that resize on a GPU, here on a CPU, against torch's interpolation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import kernels, resize

SIZES = [
    ((21, 21), (81, 81)),
    ((13, 9), (50, 70)),
    ((40, 64), (17, 9)),
    ((1, 1), (4, 5)),
    ((5, 7), (1, 1)),
    ((6, 6), (6, 6)),
]


def as_on_cuda(image: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    with kernels.assuming("cuda"):
        return resize.bilinear(image, size, align_corners=align_corners)


def interpolated(image: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return F.interpolate(image, size=size, mode="bilinear", align_corners=align_corners)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_products_are_interpolation(
    old: tuple[int, int], new: tuple[int, int], align_corners: bool, memory_format: torch.memory_format
) -> None:
    image = torch.rand(2, 3, *old, generator=torch.Generator().manual_seed(0)).to(memory_format=memory_format)
    ours, theirs = image.clone().requires_grad_(), image.clone().requires_grad_()
    found, expected = as_on_cuda(ours, new, align_corners), interpolated(theirs, new, align_corners)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.stride() == expected.stride() or 1 in (*old, *new)
    upstream = torch.rand(found.shape, generator=torch.Generator().manual_seed(1))
    torch.autograd.backward([found, expected], [upstream, upstream])
    assert ours.grad is not None and theirs.grad is not None
    scale = float(theirs.grad.abs().max())
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6 * max(scale, 1))


@pytest.mark.parametrize("align_corners", [True, False])
def test_double_precision_is_exact(align_corners: bool) -> None:
    image = torch.rand(1, 2, 9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = interpolated(image, (31, 27), align_corners)
    torch.testing.assert_close(as_on_cuda(image, (31, 27), align_corners), expected, rtol=0, atol=1e-14)


def test_bfloat16_is_rounded_once() -> None:
    image = torch.rand(1, 4, 9, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = as_on_cuda(image, (33, 33), True)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, as_on_cuda(image.float(), (33, 33), True).bfloat16())


def test_weights_first_used_without_gradient_serve_with_one() -> None:
    image = torch.rand(1, 1, 3, 3)
    with torch.inference_mode():
        as_on_cuda(image, (11, 13), True)
    ours = image.clone().requires_grad_()
    assert torch.autograd.grad(as_on_cuda(ours, (11, 13), True).sum(), ours)[0].shape == ours.shape


def test_a_cpu_interpolates() -> None:
    image = torch.rand(1, 2, 5, 6)
    assert torch.equal(resize.bilinear(image, (9, 8), align_corners=True), interpolated(image, (9, 8), True))
