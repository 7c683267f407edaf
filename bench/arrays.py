"""Array conventions that images and masks follow everywhere: the type of their pixels, and the value of void."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

IGNORE_INDEX = 255  # the label of pixels that take no part in training or evaluation (void)
