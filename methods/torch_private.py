"""The private interfaces of PyTorch that methods use, all of them here, so that a release without them breaks one file.

All of them are in PyTorch 2.8, the oldest release that ``pyproject.toml`` allows. ``tests/methods/test_torch_private.py``
fails with the name of the one that a later release drops, or that does something else there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

_SUM = 0  # the number of embedding_bag's mode "sum"


def lerp_all_(own: Sequence[Tensor], new: Sequence[Tensor], weight: float) -> None:
    """Move every tensor of `own` towards its partner by `weight`, in place (a weight of 1 gives `new` exactly).

    Why: one call for all of a network's tensors instead of a kernel for each. Public equivalent: ``Tensor.lerp_`` in a loop.
    """
    if own:
        torch._foreach_lerp_(list(own), list(new), weight)


def copy_all_(own: Sequence[Tensor], new: Sequence[Tensor]) -> None:
    """Copy every tensor of `new` into its partner of the same type and shape.

    Why: as for :func:`lerp_all_`. Public equivalent: ``Tensor.copy_`` in a loop.
    """
    if own:
        torch._foreach_copy_(list(own), list(new))


def row_products(rows: Tensor, table: Tensor, index: Tensor, row: Tensor) -> Tensor:
    """Return ``<rows[row[i]], table[index[i]]>``, (M,).

    Why: it reads the rows where they are; gathered, ReCo's keys take gigabytes. CPU and CUDA, no gradient. The operator is
    the gradient of ``embedding_bag`` with respect to its weights. Public equivalent: ``(rows[row] * table[index]).sum(1)``.

    Args:
        rows: (T, D).
        table: (P, D), same dtype.
        index: (M,) int32 or int64, in [0, P).
        row: (M,) same dtype, in [0, T).
    """
    products: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        rows, table, index, index[:0], row, _SUM
    )
    return products


def is_fake(tensor: Tensor) -> bool:
    """Tell whether a tensor has a shape but no values, as those with which memory is predicted.

    Why: what must read values on the host has to do without them then. There is no public equivalent.
    """
    return isinstance(tensor, FakeTensor)


def built_with_values(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a new module whose tensors are fake where fake tensors are being made, but that was built with real ones.

    Why: what reads values while it is built (timm's rates of stochastic depth) can't be built of fake tensors. There is no
    public equivalent.
    """
    with unset_fake_temporarily() as mode:
        module = make()
    if isinstance(mode, FakeTensorMode):
        for part in module.modules():
            homes: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
            for home in homes:
                home.update({name: mode.from_tensor(tensor) for name, tensor in home.items() if tensor is not None})
    return module
