"""A share of the training images, drawn uniformly."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

import bench.config
from bench.errors import BenchError
from bench.registry import register
from bench.seeds import derive
from bench.text import shown
from datasets.base import SegmentationDataset
from datasets.split import Protocol, Split, described


def _canonical(value: Any) -> str:
    """Return a share as a reduced fraction, so that 1/4, 0.25 and 2/8 are the same cell."""
    text = str(value)
    if isinstance(value, float):
        share = Fraction(value).limit_denominator(1_000_000) if math.isfinite(value) else Fraction(0)
    elif re.fullmatch(r"\d{1,9}/0*[1-9]\d{0,8}|\d?\.\d{1,9}", text):
        share = Fraction(text)
    else:
        share = Fraction(0)
    if not 0 < share < 1:
        raise ValueError(
            f"{shown(text)} is not a share between 0 and 1, such as 1/16 or 0.25; for all labels use `full`"
        )
    return str(share)


class RatioConfig(bench.config.Config):
    """Options of `ratio`.

    Attributes:
        share: labelled share of the training images that have a mask, above 0 and below 1: ``1/16``, ``0.25``.
    """

    share: Annotated[str, BeforeValidator(_canonical)]


@register("protocol", "ratio")
class Ratio(Protocol):
    """A share of the training images, drawn uniformly; the rest is unlabelled.

    The number of labelled images is rounded up, which gives the sizes of the lists published with CPS, U2PL and UniMatch
    (1/16 of 10,582 is 662; 1/2 of 2,975 is 1,488). Splits of one seed are nested: 1/8 contains 1/16.
    """

    Config: ClassVar[type[bench.config.Config]] = RatioConfig
    shorthand: ClassVar[str | None] = "share"

    def __init__(self, config: RatioConfig) -> None:
        super().__init__(config)
        self._share = Fraction(config.share)

    @property
    def title(self) -> str:
        """The reduced fraction: ``1/16``."""
        return str(self._share)

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Draw the split: order the ids by a hash of (seed, id), and take the first; both parts in the list's order.

        Raises:
            BenchError: if so few images are there that none would be left unlabelled.
        """
        every, ids = dataset.ids("train"), dataset.annotated
        count = math.ceil(len(ids) * self._share)
        if not 0 < count < len(every):
            raise BenchError(
                f"protocol 'ratio' {self.title}: there are {described(dataset)}, of which it labels {count}; "
                f"{'use `full`' if count else 'annotate some'}"
            )
        chosen = set(sorted(ids, key=lambda image_id: (derive(seed, "ratio", image_id), image_id))[:count])
        return Split(
            labelled=tuple(i for i in ids if i in chosen),
            unlabelled=tuple(i for i in every if i not in chosen),
        )
