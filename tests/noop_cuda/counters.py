"""What the no-op CUDA runtime has counted in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

# The order of the enumeration in csrc/shim.h.
NAMES = (
    "launches",
    "copies_to_device",
    "pageable_copies",
    "large_pageable_copies",
    "copies_to_host",
    "copies_on_device",
    "memsets",
    "stream_syncs",
    "device_syncs",
    "event_syncs",
    "mallocs",
    "frees",
    "host_allocs",
    "cublas",
)

SYNCS = ("stream_syncs", "device_syncs", "event_syncs")


def loaded() -> bool:
    """Tell whether this process runs on the no-op runtime."""
    return hasattr(ctypes.CDLL(None), "shim_counters")


def read() -> dict[str, int]:
    """Return each counter."""
    library = ctypes.CDLL(None)
    library.shim_counters.restype = ctypes.POINTER(ctypes.c_long)
    return dict(zip(NAMES, library.shim_counters()[: len(NAMES)], strict=True))


@dataclass
class Counted:
    """What was counted between two moments; empty before the second. `syncs` are those of streams, device and events."""

    counts: dict[str, int] = field(default_factory=dict)

    @property
    def syncs(self) -> int:
        return sum(self.counts[name] for name in SYNCS)

    @property
    def launches(self) -> int:
        return launches(self.counts)


def launches(counts: Mapping[str, int]) -> int:
    """Return kernels and memsets; a convolution of the no-op runtime is one of the latter."""
    return counts["launches"] + counts["memsets"]


@contextmanager
def counting() -> Iterator[Counted]:
    """Count what happens while it is entered."""
    found, before = Counted(), read()
    yield found
    found.counts = {name: value - before[name] for name, value in read().items()}
