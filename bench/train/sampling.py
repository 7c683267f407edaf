"""Which images a step sees: a pure function of (seed, pool, step)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.seeds import rng

Indices = NDArray[np.int64]


@lru_cache(maxsize=8)
def _permutation(seed: int, pool: str, epoch: int, size: int) -> Indices:
    return rng(seed, "epoch", pool, epoch).permutation(size)


def sample(mode: Literal["replacement", "epoch"], size: int, batch: int, step: int, seed: int, pool: str) -> Indices:
    """Return the indices (batch,) into a pool of `size` images for one step.

    `replacement` draws each step anew, as the ReCo authors' ``RandomSampler(replacement=True)`` does, but never one image
    twice in a batch unless the pool is smaller than the batch: an image mixed with itself is no mixture. `epoch` reads on
    through one permutation of the pool per epoch, across step boundaries.

    Args:
        mode: the schedule's `sampling`.
        size: images in the pool, at least 1.
        batch: images per step.
        step: from 0.
        seed: data seed.
        pool: `labelled` or `unlabelled`; the two are drawn independently.
    """
    if mode == "epoch":
        positions = np.arange(step * batch, (step + 1) * batch)
        epochs, offsets = positions // size, positions % size
        picks = [_permutation(seed, pool, int(e), size)[o] for e, o in zip(epochs, offsets, strict=True)]
        return np.array(picks, dtype=np.int64)
    generator = rng(seed, "sample", pool, step)
    rounds = [generator.permutation(size) for _ in range(batch // size)]
    rest = generator.choice(size, batch % size, replace=False)
    return np.concatenate([*rounds, rest]).astype(np.int64)
