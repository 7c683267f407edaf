"""Ranks of methods over many columns: Friedman's test, and which methods no paired test tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.report.statistics.paired import Floats, holm

LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """How methods rank over blocks.

    Attributes:
        methods: the best first.
        mean: their mean ranks, 1 for the best; ties share.
        blocks: number of blocks.
        friedman: p that all methods rank alike; None with fewer than three of them, or where all tie.
        alike: groups of neighbours no two of which are told apart, as places in `methods`, first and last.
    """

    methods: tuple[str, ...]
    mean: tuple[float, ...]
    blocks: int
    friedman: float | None
    alike: tuple[tuple[int, int], ...]


def rank(methods: Sequence[str], scores: Floats) -> Ranks:
    """Rank methods.

    Pairs are told apart by Wilcoxon's signed-rank test at 5 % after Holm's correction, which unlike Nemenyi's doesn't depend
    on which other methods are there. Sources: Demšar, JMLR 2006; Benavoli, Corani and Mangili, JMLR 2016.

    Args:
        methods: their names, at least two.
        scores: (blocks, methods), at least one block; higher is better.
    """
    from scipy.stats import friedmanchisquare, rankdata

    mean = rankdata(-scores, axis=1).mean(0)
    order = np.argsort(mean, kind="stable")
    ordered = scores[:, order]
    friedman = float(friedmanchisquare(*ordered.T).pvalue) if len(methods) > 2 and len(scores) > 1 else None
    return Ranks(
        tuple(methods[i] for i in order),
        tuple(float(mean[i]) for i in order),
        len(scores),
        None if friedman is None or np.isnan(friedman) else friedman,
        _alike(ordered),
    )


def _alike(ordered: Floats) -> tuple[tuple[int, int], ...]:
    """Return the longest groups of neighbours of which no pair is told apart."""
    from scipy.stats import wilcoxon

    count = ordered.shape[1]
    pairs = list(combinations(range(count), 2))
    ps = []
    for i, j in pairs:
        difference = ordered[:, i] - ordered[:, j]
        ps.append(float(wilcoxon(difference).pvalue) if difference.any() else 1.0)
    apart = {pair for pair, p in zip(pairs, holm(ps), strict=True) if p <= LEVEL}
    groups: list[tuple[int, int]] = []
    for first in range(count):
        last = first
        while last + 1 < count and not any((i, last + 1) in apart for i in range(first, last + 1)):
            last += 1
        if last > first and not any(start <= first and last <= end for start, end in groups):
            groups.append((first, last))
    return tuple(groups)
