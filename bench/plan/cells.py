"""A grid's points become cells: parts resolved, splits drawn, coordinates named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.data.roots import DataRoots
from bench.data.splits import draw_split
from bench.errors import BenchError
from bench.plan.coordinates import coordinates
from bench.plan.request import Request, read_request
from bench.registry import Kind, get
from bench.spec.cell import PARTS, SECTIONS, Cell, Part, resolve_part
from bench.spec.grid import Grid, Point, expand
from bench.spec.messages import validate
from bench.spec.sections import Seeds
from bench.spec.yaml import Raw, RawView
from bench.store.summary import Coords

if TYPE_CHECKING:
    from datasets.split import Manifest


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
    """A grid's cells in grid order.

    Attributes:
        name, grid: the grid, as ``--set`` made it.
        cells: at least one.
        manifests: the splits' manifests by hash.
        written: the grid as its file has it.
        sets: the ``--set`` values.
    """

    name: str
    grid: Grid
    cells: list[PlannedCell]
    manifests: dict[str, Manifest]
    written: Grid
    sets: Raw


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
        held = sections["evaluation"].held_out
        split = draw_split(parts["dataset"], parts["protocol"], sections["seeds"].split, self.roots, held)
        return Cell(**parts, **sections, split_sha256=split.sha256), split


def resolve_grid(request: Request) -> Plan:
    """Expand a grid into cells and draw their splits; nothing is written.

    Raises:
        BenchError: anything wrong with the grid or the data.
    """
    asked = read_request(request)
    where, resolver = asked.where, Resolver(asked.where, DataRoots.parse(request.data))
    resolved: dict[str, tuple[Point, Cell]] = {}
    manifests: dict[str, Manifest] = {}
    for point in expand(asked.grid, where, asked.rest, replaced=bool(request.sets)):
        cell, split = resolver.cell(point.raw)
        if cell.id in resolved:
            raise BenchError(
                f"{where}: two cells are the same run, {cell.id}: {resolved[cell.id][0].values} and {point.values}; "
                "an axis repeats a value, or an override undoes it"
            )
        resolved[cell.id] = point, cell
        manifests[split.sha256] = split
    if not resolved:
        raise BenchError(f"{where}: the grid has no cells (every combination is excluded)")
    if asked.grid.select == "selected" and not any(cell.evaluation.held_out for _, cell in resolved.values()):
        raise BenchError(f"{where}: select: 'selected' needs evaluation.select_on 'holdout' and evaluation.holdout")
    found = list(resolved.values())
    coords = coordinates(found, asked.grid, where)
    cells = [
        PlannedCell(cell, labels, point.values, point.raw.get("profile", {}))
        for (point, cell), labels in zip(found, coords, strict=True)
    ]
    return Plan(request.name, asked.grid, cells, manifests, asked.written, asked.sets)
