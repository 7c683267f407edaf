"""Which paired differences are independent of each other, where several seeds are crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.statistics.paired import student


@dataclass(frozen=True)
class Units:
    """What of a comparison counts as one observation.

    Attributes:
        axis: the seed whose levels they are, each the mean of its pairs; empty where each pair is one.
        members: per unit the places of its pairs.
    """

    axis: str
    members: tuple[tuple[int, ...], ...]

    def means(self, values: Sequence[float]) -> list[float]:
        """Return one value per unit from one per pair."""
        return [sum(values[i] for i in unit) / len(unit) for unit in self.members]


def units(values: Sequence[float], levels: Mapping[str, Sequence[str]]) -> Units:
    """Return the units of paired differences.

    Pairs that share a split share what that split does to the difference, so nine pairs of three splits and three
    initialisations are no nine observations. Of each seed whose levels several pairs share, the means per level are
    taken, and of these seeds the one with the widest interval: simulated, it holds its 95 % whichever of them matters.

    Args:
        values: A − B of each pair.
        levels: per seed axis the level of each pair.
    """
    found = Units("", tuple((i,) for i in range(len(values))))
    widest = -1.0
    for axis, places in levels.items():
        shared: dict[str, list[int]] = {}
        for i, level in enumerate(places):
            shared.setdefault(level, []).append(i)
        if 1 < len(shared) < len(values):
            made = Units(axis, tuple(tuple(unit) for unit in shared.values()))
            low, high = student(made.means(values))
            if high - low > widest:
                found, widest = made, high - low
    return found
