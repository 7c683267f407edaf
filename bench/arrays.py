"""Array conventions that images and masks follow everywhere: type and normalisation of pixels, the value of void."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

IGNORE_INDEX = 255  # the label of pixels that take no part in training or evaluation (void)

# Mean and standard deviation of ImageNet's RGB values in [0, 1], with which torchvision's weights were trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def spread(total: int, count: int) -> list[int]:
    """Return `count` places evenly over `total`, the first and the last among them; all where there are fewer."""
    return [int(i) for i in np.linspace(0, total - 1, min(count, total)).round()]
