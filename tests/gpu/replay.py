"""Replays random requests in the model of the allocator and in the real one, event by event. See ``test_allocator.py``.

``python -m tests.gpu.replay``, on a GPU or within ``tests.noop_cuda.environment()``; prints JSON.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from typing import Any

import torch

from bench.cost.allocator import MIB, Allocator, Block

# Sizes of each kind of request: the small pool, a shared large segment, a segment of its own; and the borders between them.
BORDERS = [1, 511, 512, 513, MIB - 1, MIB, MIB + 1, 10 * MIB - 1, 10 * MIB, 10 * MIB + 1, 20 * MIB, 22 * MIB - 512]
EVENTS = 6_000
RANGES = [(1, 4096), (4096, MIB), (MIB, 10 * MIB), (10 * MIB, 200 * MIB)]


def size(source: random.Random) -> int:
    """Return a request in bytes; few distinct ones, so that free blocks fit again and equals compete."""
    if source.random() < 0.1:
        return source.choice(BORDERS)
    low, high = source.choice(RANGES)
    step = max((high - low) // 20, 1)
    return source.randrange(low, high, step)


def state() -> tuple[int, int]:
    """Return what the real allocator has given and reserved."""
    found = torch.cuda.memory_stats_as_nested_dict()
    return found["allocated_bytes"]["all"]["current"], found["reserved_bytes"]["all"]["current"]


class Places:
    """Where the model's segments are on the device."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._offsets: list[int] = []

    def add(self, model: int, real: int) -> None:
        """Note where a new segment begins."""
        self._begins.append(model)
        self._offsets.append(real - model)

    def real(self, model: int) -> int:
        """Return the real address of an address of the model."""
        return model + self._offsets[bisect_right(self._begins, model) - 1]


def replay(seed: int, events: int) -> dict[str, Any]:
    """Return how many events agreed, the first that didn't, and the sizes reached."""
    source, model, places = random.Random(seed), Allocator(), Places()
    alive: list[tuple[torch.Tensor, Block]] = []
    for event in range(events):
        grows = source.random() < (0.6 if event % 400 < 200 else 0.4)
        if grows or not alive:
            wanted = size(source)
            tensor = torch.empty(wanted, dtype=torch.uint8, device="cuda")
            reserved = model.reserved
            block = model.alloc(wanted)
            assert block is not None
            if model.reserved > reserved:
                places.add(block.address, tensor.data_ptr())
            same = places.real(block.address) == tensor.data_ptr()
            alive.append((tensor, block))
        else:
            tensor, block = alive.pop(source.randrange(len(alive)))
            del tensor
            model.free(block)
            same = True
        if not same or state() != (model.allocated, model.reserved):
            return {"agreed": event, "real": state(), "model": (model.allocated, model.reserved), "same": same}
    peaks = [torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()]
    return {"agreed": events, "peaks": peaks, "model": [model.peak_allocated, model.peak_reserved]}


def main() -> None:
    found = []
    for seed in range(3):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        found.append(replay(seed, EVENTS))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
