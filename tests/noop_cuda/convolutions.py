"""Convolutions of the right shape and memory format for the no-op CUDA runtime, which has no cuDNN.

Importing this registers them. As a plug-in (``BENCH_PLUGINS``) it is imported by a process that looks for a name beyond the
registry's own files, such as that of a plug-in data set. Each convolution counts as one memset forward and as one for each
gradient, where cuDNN has a launch or two.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor


def _format(image: Tensor, weight: Tensor) -> torch.memory_format:
    last = torch.channels_last
    strided = any(t.is_contiguous(memory_format=last) and not t.is_contiguous() for t in (image, weight))
    return last if strided else torch.contiguous_format


def _forward(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    chosen = _format(image, weight)
    image = image.contiguous(memory_format=chosen)

    def size(axis: int) -> int:
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        if transposed:
            return (image.shape[2 + axis] - 1) * stride[axis] - 2 * padding[axis] + reach + output_padding[axis] + 1
        return (image.shape[2 + axis] + 2 * padding[axis] - reach - 1) // stride[axis] + 1

    shape = [image.shape[0], weight.shape[1] * groups if transposed else weight.shape[0], size(0), size(1)]
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=chosen).zero_()


def _backward(
    grad: Tensor,
    image: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    chosen = _format(image, weight)
    grad = grad.contiguous(memory_format=chosen)
    return (
        torch.empty_like(image, memory_format=chosen).zero_() if mask[0] else None,
        torch.empty_like(weight).zero_() if mask[1] else None,
        grad.sum((0, 2, 3)) if mask[2] else None,
    )


torch.backends.cudnn.enabled = False
torch.backends.cuda.enable_cudnn_sdp(False)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    library.impl("convolution", _forward, "CUDA")  # type: ignore[no-untyped-call]
    library.impl("convolution_backward", _backward, "CUDA")  # type: ignore[no-untyped-call]
