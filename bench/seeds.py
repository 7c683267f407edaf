"""Counter-based randomness: every draw is a pure function of (seed, purpose, step, slot).

There is no global generator and no state to save, so neither the number of workers, nor the order of execution, nor a
kill and resume at any step can change a run.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _digest(seed: int, path: tuple[str | int, ...], size: int) -> int:
    text = repr((seed, *path)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=size).digest(), "little")


def derive(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed for the purpose named by `path`, e.g. ``derive(0, "init")``.

    Different paths give independent seeds; the same path gives the same seed on every machine and Python version.
    Use it for generators that live on a device: ``torch.Generator(device).manual_seed(derive(seed, "reco", step))``.
    """
    return _digest(seed, path, 8) >> 1


def rng(seed: int, *path: str | int) -> np.random.Generator:
    """Return a fresh NumPy generator (Philox, counter-based) for the draw named by `path`.

    Args:
        seed: the data or split seed of the cell.
        path: purpose, then step and slot where the draw belongs to one, e.g. ``rng(seed, "labelled", step, slot)``.
    """
    return np.random.Generator(np.random.Philox(key=_digest(seed, path, 16)))
