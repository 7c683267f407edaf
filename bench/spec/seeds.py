"""The seeds of a cell."""

from __future__ import annotations

from typing import ClassVar

from bench.bounds import LARGEST_SEED, Seed
from bench.config import Config


class Seeds(Config):
    """The three seeds of a cell. The grid's `seed` sets all of them; each can be set alone.

    Attributes:
        split: which images are labelled. Never depends on the method.
        init: initial weights.
        data: batches, augmentation, mixing and every other draw during training.
    """

    largest_number: ClassVar[float] = LARGEST_SEED

    split: Seed = 0
    init: Seed = 0
    data: Seed = 0
