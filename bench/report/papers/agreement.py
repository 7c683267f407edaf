"""Whether two lists of scores rank the same things the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Kendall's τ-b of two lists of equal length, from -1 to 1; None where one of them has no order at all.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 33, 1945: concordant less discordant pairs,
    over the geometric mean of the numbers of pairs that each list tells apart.
    """
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in combinations(zip(one, other, strict=True), 2)]
    untied = math.prod(sum(abs(pair[side]) for pair in signs) for side in (0, 1))
    return sum(x * y for x, y in signs) / math.sqrt(untied) if untied else None
