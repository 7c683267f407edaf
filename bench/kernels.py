"""Which kind of device an algorithm is written for, where it has one version for CPUs and one for GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_assumed: list[str] = []


def kind(device: torch.device) -> str:
    """Return the device type whose version of an algorithm to use, ``cpu`` or ``cuda``."""
    return _assumed[-1] if _assumed else device.type


@contextmanager
def assuming(device_type: str) -> Iterator[None]:
    """Use the versions for a device type, whatever the tensors' device is.

    Memory is predicted with it: fake tensors can't be on a GPU without one, but a GPU's kernels are to be counted.
    """
    _assumed.append(device_type)
    try:
        yield
    finally:
        _assumed.pop()
