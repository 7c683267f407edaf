"""What is drawn for the photometric half of a batch's augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draws:
    """What was drawn for a batch of B images.

    Attributes:
        jittered, blurred, flipped: (B,) bool, which images are.
        factors: (B, 4), of each operation of ``colour.OPERATIONS``.
        order: (B, 4), the operations' order.
        sigma: (B,), standard deviation of the blur in pixels.
        radius: in pixels, where the blur is cut off.
    """

    jittered: NDArray[np.bool_]
    factors: NDArray[np.float64]
    order: NDArray[np.int64]
    blurred: NDArray[np.bool_]
    sigma: NDArray[np.float64]
    radius: int
    flipped: NDArray[np.bool_]
