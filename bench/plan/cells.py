"""A grid's points become cells: parts resolved, splits drawn, coordinates named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.data.roots import DataRoots
from bench.data.splits import draw_split
from bench.errors import BenchError
from bench.plan.request import Request, read_request
from bench.registry import Kind, get
from bench.spec.cell import PARTS, SECTIONS, Cell, Part, part_mapping, resolve_part
from bench.spec.grid import Grid, Point, expand
from bench.spec.messages import validate
from bench.spec.sections import Seeds
from bench.spec.yaml import Raw, RawView

if TYPE_CHECKING:
    from datasets.split import Manifest


Coords = dict[str, str | int]  # label per axis; the seed is a number


@dataclass(frozen=True)
class PlannedCell:
    """A cell and its coordinates: readable labels per axis, from which tables and plots are built.

    Attributes:
        cell: the cell.
        coords: label per axis.
        values: value per axis, as the grid has it.
        profile: the grid's changes to a cluster's profile for this cell.
    """

    cell: Cell
    coords: Coords
    values: Raw = field(default_factory=dict)
    profile: Raw = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A grid's cells in grid order, with their splits' manifests by hash."""

    name: str
    grid: Grid
    cells: list[PlannedCell]
    manifests: dict[str, Manifest]


class Resolver:
    """Turns points into cells; parts and sections that cells share are validated once."""

    def __init__(self, where: str, roots: DataRoots) -> None:
        self.where = where
        self.roots = roots
        self.known: Raw = {}

    def _once(self, key: str, value: Any, make: Any) -> Any:
        text = f"{key} {value!r}"
        if text not in self.known:
            self.known[text] = make()
        return self.known[text]

    def part(self, kind: Kind, raw: RawView) -> Part:
        """Validate a part, without its label."""
        options = {k: v for k, v in raw.items() if k != "label"}
        part: Part = self._once(kind, options, lambda: resolve_part(kind, options, f"{self.where}: {kind}"))
        return part

    def network(self, recipe: Part, method: Part) -> Part:
        """Return the network that a method needs: the recipe's, or another one with the options that both have."""
        wanted = getattr(method.cls, "network", None)
        if wanted in (None, recipe.name):
            return recipe
        options = recipe.config.model_dump(mode="json").items()
        shared = {key: value for key, value in options if key in get("network", wanted).Config.model_fields}
        return self.part("network", {"name": wanted, **shared})

    def cell(self, raw: RawView) -> tuple[Cell, Manifest]:
        """Resolve a raw cell; return it with its split's manifest."""
        parts: Raw = {kind: self.part(kind, raw[kind]) for kind in PARTS}
        parts["network"] = self.network(parts["network"], parts["method"])
        sections: Raw = {}
        for name, model in SECTIONS.items():
            value = raw.get(name, {})
            if model is Seeds:
                value = {**dict.fromkeys(("split", "init", "data"), raw["seed"]), **value}
            sections[name] = self._once(
                name, value, lambda m=model, n=name, v=value: validate(m, v, f"{self.where}: {n}")
            )
        split = draw_split(parts["dataset"], parts["protocol"], sections["seeds"].split, self.roots)
        return Cell(**parts, **sections, split_sha256=split.sha256), split


def _label(kind: Kind, raw: RawView, axis_values: list[Any]) -> str:
    """Name a part in tables: its label; else its name, with its options if the axis has the name more than once."""
    if "label" in raw:
        return str(raw["label"])
    same = [v for v in axis_values if part_mapping(kind, v, kind)["name"] == raw["name"]]
    options = ", ".join(f"{k}={v}" for k, v in raw.items() if k != "name")
    return f"{raw['name']} ({options})" if len(same) > 1 and options else str(raw["name"])


def coordinates(point: Point, cell: Cell, grid: Grid) -> Coords:
    """Return the labels of a cell per axis; `dataset`, `network`, `method`, `protocol`, `labels`, `seed` always."""
    coords: Coords = {
        "dataset": _label("dataset", point.raw["dataset"], grid.axes.get("dataset", [])),
        "network": getattr(cell.network.config, "backbone", cell.network.name),
        "method": _label("method", point.raw["method"], grid.axes.get("method", [])),
        "protocol": cell.protocol.name,
        "labels": cell.title,
        "seed": cell.seeds.data,
    }
    for key, value in point.values.items():
        if key not in (*coords, "protocol", "network.backbone") and not key.startswith("protocol."):
            coords[key] = str(value)
    return coords


def resolve_grid(request: Request) -> Plan:
    """Expand a grid into cells and draw their splits; nothing is written.

    Raises:
        BenchError: anything wrong with the grid or the data.
    """
    grid, sets, where = read_request(request)
    resolver = Resolver(where, DataRoots.parse(request.data))
    cells: dict[str, PlannedCell] = {}
    manifests: dict[str, Manifest] = {}
    for point in expand(grid, where, sets, replaced=bool(request.sets)):
        cell, split = resolver.cell(point.raw)
        coords = coordinates(point, cell, grid)
        if cell.id in cells:
            raise BenchError(
                f"{where}: two cells are the same run, {cell.id}: {cells[cell.id].coords} and {coords}; "
                "an axis repeats a value, or an override undoes it"
            )
        cells[cell.id] = PlannedCell(cell, coords, point.values, point.raw.get("profile", {}))
        manifests[split.sha256] = split
    if not cells:
        raise BenchError(f"{where}: the grid has no cells (every combination is excluded)")
    return Plan(request.name, grid, list(cells.values()), manifests)
