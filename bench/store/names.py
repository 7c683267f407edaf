"""Short names of a grid's cells, of the axes that vary: ``classmix · threshold 0.7 · 20 labels · seed 1``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bench.store.summary import Coords

_BUDGET = ("protocol", "labels")
_FIRST = ("method",)
_LAST = ("labels", "seed", "trial")


class Names:
    """Names cells by what tells them apart.

    Args:
        places: the coordinates of all cells that are to be told apart.

    Attributes:
        axes: keys of the axes that vary, in the order in which they are shown; label budgets are one axis, `labels`.
    """

    def __init__(self, places: Iterable[Coords]) -> None:
        kept = list(places)
        values: dict[str, set[str | int | None]] = {key: set() for place in kept for key in place}
        for place in kept:
            for key, found in values.items():
                found.add(place.get(key))
        vary = [key for key, found in values.items() if len(found) > 1] or list(_FIRST)
        # A budget that is its protocol's only one, as `full` is, needs no name beside it.
        self._protocols = (
            len({place.get("protocol") for place in kept if place.get("protocol") != place.get("labels")}) > 1
        )
        keys = ["labels" if key in _BUDGET else key for key in vary]
        middle = [key for key in dict.fromkeys(keys) if key not in (*_FIRST, *_LAST)]
        self.axes = [*(key for key in _FIRST if key in keys), *middle, *(key for key in _LAST if key in keys)]
        ends = Counter(key.rpartition(".")[2] for key in self.axes)
        self._shown = {key: key if key.startswith("seeds.") else self._end(key, ends) for key in self.axes}

    @staticmethod
    def _end(key: str, ends: Counter[str]) -> str:
        end = key.rpartition(".")[2]
        return end if ends[end] == 1 else key

    @property
    def headings(self) -> list[str]:
        """The axes as the headings of columns: `threshold` for `method.threshold`."""
        return list(self._shown.values())

    def values(self, place: Coords) -> list[str]:
        """Return a cell's value on each axis, empty where it has none."""
        return [self._value(key, place) for key in self.axes]

    def name(self, place: Coords) -> str:
        """Return a cell's name."""
        parts = [self._part(key, value) for key, value in zip(self.axes, self.values(place), strict=True) if value]
        return " · ".join(parts)

    def brief(self, place: Coords) -> str:
        """Return a cell's name without the names of the axes, for a narrow terminal: ``classmix · 0.7 · 20 · 1``."""
        return " · ".join(filter(None, self.values(place)))

    def _value(self, key: str, place: Coords) -> str:
        value = str(place.get(key, ""))
        protocol = str(place.get("protocol", ""))
        return f"{protocol} {value}" if key == "labels" and self._protocols and value != protocol else value

    def _part(self, key: str, value: str) -> str:
        if key == "labels":
            return value if self._protocols or value == "full" else f"{value} labels"
        return f"{self._shown[key]} {value}" if "." in key or key in ("seed", "trial") else value
