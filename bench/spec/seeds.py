"""The seeds of a cell."""

from __future__ import annotations

from pydantic import NonNegativeInt

from bench.config import Config


class Seeds(Config):
    """The three seeds of a cell. The grid's `seed` sets all of them; each can be set alone.

    Attributes:
        split: which images are labelled. Never depends on the method.
        init: initial weights.
        data: batches, augmentation, mixing and every other draw during training.
    """

    split: NonNegativeInt = 0
    init: NonNegativeInt = 0
    data: NonNegativeInt = 0
