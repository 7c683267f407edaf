"""The best score that a number of trials is expected to find: what a method is worth to those who can't try much.

Source: Dodge et al., "Show Your Work: Improved Reporting of Experimental Results", EMNLP-IJCNLP 2019; here without
replacement, since the trials of a budget are different ones: exact, and unbiased (Tang et al., ACL 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

LOW, HIGH = 0.1, 0.9  # the band: in eight of ten draws of n trials the best lies in it


def expected_best(scores: Sequence[float]) -> list[float]:
    """Return the expected highest score of n trials drawn from all without replacement, for n = 1 … N.

    Of n trials the i-th lowest of all N is the best with probability C(i - 1, n - 1) / C(N, n).
    """
    ranked, total = sorted(scores), len(scores)
    return [sum(comb(i, n - 1) * score for i, score in enumerate(ranked)) / comb(total, n) for n in range(1, total + 1)]


def quantile_of_best(scores: Sequence[float], share: float) -> list[float]:
    """Return the quantile of the highest score of n trials drawn without replacement, for n = 1 … N.

    The highest is at most the i-th lowest with probability C(i, n) / C(N, n); the quantile is the lowest score for which
    that reaches `share`.
    """
    ranked, total = sorted(scores), len(scores)
    return [
        next(score for i, score in enumerate(ranked, 1) if comb(i, n) / comb(total, n) >= share - 1e-12)
        for n in range(1, total + 1)
    ]
