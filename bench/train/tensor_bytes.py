"""Bytes of tensors alive, counted operator by operator: the CPU's counterpart of CUDA's `max_memory_allocated`."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages of tensors that exist, and the peak of their sum, while it is entered.

    A storage counts once, however many tensors view it, from the operator that returned it until it is freed. It also
    counts on fake tensors, whose storages have a size but no memory. What a kernel allocates and frees within itself is
    not seen. ``torch.distributed._tools.MemTracker`` counts alike, but refuses a module that is called twice in a step,
    as a student is on labelled and unlabelled images.

    Attributes:
        now: bytes alive.
        peak: the largest `now` since the start or the last :meth:`reset_peak`.
    """

    def __init__(self, *existing: Iterable[Tensor]) -> None:
        """Begin with tensors that exist already, such as parameters, buffers and optimizer state."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensors in existing:
            for tensor in tensors:
                self.see(tensor)

    def reset_peak(self) -> None:
        """Begin a new peak at what is alive now."""
        self.peak = self.now

    def see(self, tensor: Tensor) -> None:
        """Count a tensor's storage from now on, if it isn't known yet."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known:
            return
        size = storage.nbytes()
        block = self.take(size)

        def freed(_: weakref.ref[torch.UntypedStorage]) -> None:
            if self._known.pop(key, None) is not None:
                self.give_back(size, block)

        self._known[key] = weakref.ref(storage, freed)

    def take(self, size: int) -> Any:
        """Count a new storage of so many bytes; what it returns, :meth:`give_back` gets."""
        self.now += size
        self.peak = max(self.peak, self.now)

    def give_back(self, size: int, block: Any) -> None:
        """Stop counting a storage that was freed."""
        self.now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and count what it returned."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        return out
