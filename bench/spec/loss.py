"""The supervised loss of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bench.config import Config


class Loss(Config):
    """The loss on labelled pixels, for methods that have the cross-entropy there. All of it is part of a cell's id.

    Attributes:
        supervised: `ce` is the mean cross-entropy of all pixels; `ohem` (online hard example mining) that of pixels whose
            class has a probability of at most `ohem_threshold`, or of the `ohem_kept` with the least, if these are more.
        ohem_threshold: of `ohem`. CPS, U2PL, UniMatch and their successors have 0.7.
        ohem_kept: of `ohem`, pixels of a (micro-)batch. UniMatch has 200,000 for the two images of 801x801 on each GPU.
    """

    supervised: Literal["ce", "ohem"] = "ce"
    ohem_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.7
    ohem_kept: PositiveInt = 200_000
