"""Decoding on the host: its threads, and the memory from which batches are copied to a device without waiting."""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from bench.arrays import UInt8
from bench.machine import usable_cores


def decoding_threads(device: torch.device, wanted: int = 0) -> int:
    """Return how many threads decode images.

    Args:
        device: that trains or evaluates. A CPU has no cores to spare for more than two threads; beside a GPU, one core is
            left to the thread that launches its work.
        wanted: ``resources.loader_threads``; 0 chooses.
    """
    return wanted or (max(usable_cores() - 1, 2) if device.type == "cuda" else 2)


def empty_rows(count: int, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, UInt8]:
    """Return uint8 host memory (count, *shape) that isn't filled, as a tensor and as an array; pinned for a GPU.

    Only what is pinned is copied to a GPU while the host goes on. The tensor is copied, the array is written to: torch knows
    by the tensor when the copy is over and the memory can be used again.
    """
    if device.type == "cuda":
        pinned = torch.empty((count, *shape), dtype=torch.uint8, pin_memory=True)
        return pinned, pinned.numpy()
    array = np.empty((count, *shape), np.uint8)
    return torch.from_numpy(array), array


class Rows:
    """A batch of equally shaped uint8 arrays that threads fill, each its own rows. Thread-safe.

    The first array decides the shape: an augmentation need not tell the size of its views beforehand.

    Args:
        count: arrays in the batch.
        device: that the batch is for.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.count, self.device = count, device
        self._memory: tuple[Tensor, UInt8] | None = None
        self._lock = threading.Lock()

    def put(self, index: int, array: UInt8) -> None:
        """Copy an array to its place.

        Raises:
            ValueError: if its shape isn't that of the others.
        """
        with self._lock:
            if self._memory is None:
                self._memory = empty_rows(self.count, array.shape, self.device)
        rows = self._memory[1]
        if array.shape != rows.shape[1:]:
            raise ValueError(f"a batch has arrays of shapes {rows.shape[1:]} and {array.shape}")
        rows[index] = array

    def tensor(self) -> Tensor:
        """Return the batch (count, …), on the host; for a GPU in pinned memory. Every row must have been put."""
        assert self._memory is not None, "a batch has at least one array"
        return self._memory[0]
