"""The coordinates of a grid's cells: a readable label per axis, from which tables and plots are built.

Two cells that differ in more than their seeds never share all their other coordinates: tables would take them for seeds of
one cell and show their mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from bench.errors import BenchError
from bench.registry import Kind
from bench.spec.cell import PARTS, Cell, canonical, part_mapping
from bench.spec.grid import Grid, Point
from bench.store.summary import Coords

Planned = Sequence[tuple[Point, Cell]]
_SEEDS = ("seed", "seeds")


def _options(raw: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the named options that a part has, as `(output_stride=8)` with a space before it; nothing if it has none."""
    found = ", ".join(f"{name}={raw[name]}" for name in names if name in raw)
    return f" ({found})" if found else ""


def _label(kind: Kind, raw: Mapping[str, Any], axis_values: Sequence[Any]) -> str:
    """Name a part in tables: its label; else a dataset's title; else its name, with its options if the axis repeats it."""
    if "label" in raw:
        return str(raw["label"])
    same = [mapping for v in axis_values if (mapping := part_mapping(kind, v, kind))["name"] == raw["name"]]
    if raw.get("title") and len({str(mapping.get("title")) for mapping in same}) == len(same):
        return str(raw["title"])
    return str(raw["name"]) + (_options(raw, [key for key in raw if key != "name"]) if len(same) > 1 else "")


def _network(cell: Cell) -> str:
    return str(getattr(cell.network.config, "backbone", cell.network.name))


class _Names:
    """Labels the values of a part's axis that tables know by another name: networks by backbone, protocols by label budget.

    Where several values of the axis share that name, the options in which they differ stand behind it.
    """

    def __init__(self, kind: Kind, names: Iterable[Hashable], points: Iterable[Point]) -> None:
        self.kind = kind
        self.same: dict[Hashable, dict[str, dict[str, Any]]] = {}  # name -> the axis' values that share it
        for name, point in zip(names, points, strict=True):
            if kind in point.values:
                mapping = part_mapping(kind, point.values[kind], kind)
                self.same.setdefault(name, {})[repr(mapping)] = mapping

    def label(self, name: Hashable, text: str, point: Point) -> str:
        """Return the label of a point's part, `text` with what tells it apart from others of the same `name`."""
        raw = point.raw[self.kind]
        if "label" in raw:
            return str(raw["label"])
        known = list(self.same.get(name, {}).values())
        keys = dict.fromkeys(key for mapping in known for key in mapping)
        return text + _options(raw, [key for key in keys if len({repr(mapping.get(key)) for mapping in known}) > 1])


def coordinates(planned: Planned, grid: Grid, where: str) -> list[Coords]:
    """Return the labels of each cell per axis; `dataset`, `network`, `method`, `protocol`, `labels`, `seed` always.

    Args:
        planned: a grid's points with their cells.
        grid: the grid.
        where: its path, for messages.

    Raises:
        BenchError: if two values of an axis have the same label.
    """
    points = [point for point, _ in planned]
    networks = [_network(cell) for _, cell in planned]
    budgets = [(cell.protocol.name, cell.title) for _, cell in planned]
    by_network, by_budget = _Names("network", networks, points), _Names("protocol", budgets, points)
    found: list[Coords] = []
    for (point, cell), network, budget in zip(planned, networks, budgets, strict=True):
        coords: Coords = {
            "dataset": _label("dataset", point.raw["dataset"], grid.axes.get("dataset", [])),
            "network": by_network.label(network, network, point),
            "method": _label("method", point.raw["method"], grid.axes.get("method", [])),
            "protocol": cell.protocol.name,
            "labels": by_budget.label(budget, cell.title, point),
            "seed": cell.seeds.data,
        }
        for key in point.values:
            if key not in coords and key != "network.backbone" and not key.startswith("protocol."):
                coords[key] = _value(key, point, grid)
        found.append(coords)
    return _told_apart(points, found, grid, where)


def _value(key: str, point: Point, grid: Grid) -> str:
    return _label(key, point.raw[key], grid.axes[key]) if key in PARTS else str(point.values[key])


def _is_seed(key: str) -> bool:
    return key.split(".")[0] in _SEEDS


def _told_apart(points: Sequence[Point], found: list[Coords], grid: Grid, where: str) -> list[Coords]:
    """Add the axes that are hidden by a label, or by a title that doesn't name them; refuse equal labels of one axis."""
    while key := _hidden(points, found):
        if key in found[0]:
            raise BenchError(
                f"{where}: axes.{key}: two of its values have the same name in tables; give each a label of its own"
            )
        for point, coords in zip(points, found, strict=True):
            coords[key] = _value(key, point, grid)
    return found


def _hidden(points: Sequence[Point], found: Sequence[Coords]) -> str | None:
    """Return an axis in which two cells differ whose coordinates, but the seed, are the same; None where all differ."""
    groups: dict[tuple[str | int, ...], dict[str, Any]] = {}
    for point, coords in zip(points, found, strict=True):
        place = tuple([value for key, value in coords.items() if not _is_seed(key)])
        first = groups.setdefault(place, point.values)
        for key, value in point.values.items():
            if not _is_seed(key) and value is not first[key] and canonical(value) != canonical(first[key]):
                return key
    return None
