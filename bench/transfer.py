"""Copies from the host to a device that nothing waits for."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device: on a CPU without copying it, to a GPU through pinned memory, without waiting.

    From pageable memory the copy waits for the device where it is large, and goes through the driver's own buffer anyway.
    The pinned memory is torch's to keep until the copy is done.
    """
    tensor = torch.as_tensor(array)
    if device.type == "cuda" and type(tensor) is Tensor:  # fake ones, a subclass, have nothing to pin
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
