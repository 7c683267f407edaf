"""What a GPU's allocator would hold for a step that is taken on fake tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from bench.cost.allocator import Allocator, Block
from bench.train.tensor_bytes import TensorBytes

aten = torch.ops.aten
# Functions that CUDA's autocast computes in float32.
IN_FLOAT32 = {"cumsum", "exp", "group_norm", "layer_norm", "log", "log_softmax", "mse_loss", "nll_loss", "norm", "pow"}
IN_FLOAT32 |= {"prod", "reciprocal", "rsqrt", "softmax", "softplus", "sum", "__pow__", "__rpow__"}
CUBLAS_WORKSPACE = 8 * 4096 * 1024  # bytes; what CUBLAS_WORKSPACE_CONFIG=:4096:8 asks for, as every run sets it
MATRIX_PRODUCTS = frozenset((aten.mm, aten.addmm, aten.bmm, aten.baddbmm))


class DeviceBytes(TensorBytes):  # type: ignore[no-untyped-call]
    """Lets a model of CUDA's allocator serve every storage that is seen, and the workspaces that no tensor shows.

    Attributes:
        allocator: the model; its peaks are those of the whole time.
    """

    def __init__(self, method: nn.Module) -> None:
        """Begin with a method that was just moved to the device."""
        self.allocator = Allocator()
        self._cublas: Block | None = None
        super().__init__(_moved(method))

    def take(self, size: int) -> Block | None:
        """Count a new storage and return its block."""
        super().take(size)
        return self.allocator.alloc(size)

    def give_back(self, size: int, block: Any) -> None:
        """Stop counting a storage and free its block."""
        super().give_back(size, block)
        self.allocator.free(block)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and count what it takes."""
        if self._cublas is None and func.overloadpacket in MATRIX_PRODUCTS:
            self._cublas = self.allocator.alloc(CUBLAS_WORKSPACE)  # kept by earlier releases, taken per product by 2.15
        return super().__torch_dispatch__(func, types, args, kwargs)


class CudaAutocast(TorchFunctionMode):
    """Lets autocast on a CPU compute in float32 what autocast on CUDA does, as far as networks and losses use it.

    A CPU's autocast normalises and takes softmaxes in bfloat16, so that what is kept for the backward pass is half as large.
    Source: the table of operators in the documentation of ``torch.amp``.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function, on float32 if it is one of them."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in IN_FLOAT32 or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return func(*tree_map(_widened, args), **tree_map(_widened, kwargs))


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value


def _moved(module: nn.Module) -> Iterator[Tensor]:
    """Yield a module's parameters and buffers in the order in which ``Module.to`` moves them."""
    for child in module.children():
        yield from _moved(child)
    yield from (p for p in module._parameters.values() if p is not None)
    yield from (b for b in module._buffers.values() if b is not None)
