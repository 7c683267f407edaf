"""Bounds of numbers in a recipe, so that what can't run is refused when it is planned.

They lie far beyond anything that is used: they catch a zero too many and a mistaken unit, not an unusual recipe. None of
them is part of a cell's id. A number without a bound of its own has that of its section (``Config.largest_number``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

LARGEST = 1e12  # of a number that has no other bound
LARGEST_SEED = 2**64 - 1
LONGEST_SIDE = 16_384  # pixels: 268 million in a square of them

Side = Annotated[PositiveInt, Field(ge=2, le=LONGEST_SIDE)]  # of images and windows, in pixels
CropSide = Annotated[PositiveInt, Field(le=LONGEST_SIDE)]
Scale = Annotated[float, Field(ge=0.01, le=20)]  # of images: beyond it little is left, or a few pixels fill the crop
Sigma = Annotated[float, Field(gt=0, le=100)]  # of a blur, in pixels: its kernel has six times as many
Rate = Annotated[PositiveFloat, Field(le=1e4)]  # learning rates
Decay = Annotated[NonNegativeFloat, Field(le=1e4)]  # factors and exponents of the optimizer
Steps = Annotated[PositiveInt, Field(le=10**9)]  # a step in a millisecond takes twelve days then
Epochs = Annotated[PositiveFloat, Field(le=1e6)]
Images = Annotated[PositiveInt, Field(le=65_536)]  # of a batch
Threads = Annotated[NonNegativeInt, Field(le=4096)]
Seed = Annotated[NonNegativeInt, Field(le=LARGEST_SEED)]
