"""A grid's points become cells: parts resolved, splits drawn, coordinates named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.content import content_of
from bench.data.roots import DataRoots
from bench.data.splits import draw_split
from bench.errors import BenchError
from bench.plan.absent import UNKNOWN, StoredRuns, choose
from bench.plan.coordinates import coordinates
from bench.plan.request import Request, read_request
from bench.registry import Kind
from bench.spec.cell import PARTS, SECTIONS, Cell, Part, resolve_part
from bench.spec.grid import Grid, Point, expand
from bench.spec.messages import validate
from bench.spec.network import own_network
from bench.spec.sections import Seeds
from bench.spec.yaml import Raw, RawView
from bench.store.summary import Coords

if TYPE_CHECKING:
    from datasets.content import Content
    from datasets.split import Manifest


@dataclass(frozen=True)
class PlannedCell:
    """A cell and its coordinates: readable labels per axis, from which tables and plots are built.

    Attributes:
        cell: the cell.
        coords: label per axis.
        values: value per axis, as the grid has it.
        profile: the grid's changes to a cluster's profile for this cell.
        data_sha256: hash of what the dataset's files contain, whether it is part of the cell's id or not.
    """

    cell: Cell
    coords: Coords
    values: Raw = field(default_factory=dict)
    profile: Raw = field(default_factory=dict)
    data_sha256: str = ""


@dataclass(frozen=True)
class Plan:
    """A grid's cells in grid order.

    Attributes:
        name, grid: the grid, as ``--set`` made it.
        cells: at least one.
        manifests: the splits' manifests by hash.
        contents: what the datasets' files contain, by hash.
        written: the grid as its file has it.
        sets: the ``--set`` values.
        absent: why a dataset's files can't be used, where that is allowed.
        left_out: ids of the store's runs that are cells on absent data, but on other data than the cells taken.
    """

    name: str
    grid: Grid
    cells: list[PlannedCell]
    manifests: dict[str, Manifest]
    contents: dict[str, Content]
    written: Grid
    sets: Raw
    absent: dict[Part, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Resolved:
    """A cell, the hash of what its data contain ("" where unknown), and its split and data where these are here."""

    cell: Cell
    data_sha256: str
    split: Manifest | None = None
    content: Content | None = None


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
        """Return the network that a cell has in the end: the recipe's, or the method's own on the same encoder."""
        own = own_network(recipe, method)
        return recipe if own is None else self.part("network", own)

    def recipe(self, raw: RawView) -> Raw:
        """Resolve the parts and sections of a raw cell: all of it that needs no data."""
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
        return {**parts, **sections}

    def cell(self, recipe: Raw) -> Resolved:
        """Draw a recipe's split and look at its data."""
        content = content_of(recipe["dataset"], self.roots)
        recipe["evaluation"].check_classes(content.classes, self.where)
        held = recipe["evaluation"].held_out
        split = draw_split(recipe["dataset"], recipe["protocol"], recipe["seeds"].split, self.roots, held)
        cell = Cell(**recipe, split_sha256=split.sha256, data_sha256=content.identity)
        return Resolved(cell, content.sha256, split, content)

    def cells(self, recipes: Sequence[Raw]) -> list[Resolved]:
        """Resolve recipes, whose data must be here."""
        return [self.cell(recipe) for recipe in recipes]

    def known_cells(self, recipes: Sequence[Raw], store: Path) -> tuple[list[Resolved], dict[Part, str], list[str]]:
        """Resolve recipes; those whose data isn't here become the store's runs that have them, or a cell that no run is.

        Returns:
            The cells; why a dataset isn't here; and runs that are left out, since their data differ from the others'.
        """
        absent = {part: why for part in dict.fromkeys(r["dataset"] for r in recipes) if (why := self.absence(part))}
        stored, found = StoredRuns(store), dict[int, Resolved]()
        left_out = list[str]()
        for part in absent:
            places = [i for i, recipe in enumerate(recipes) if recipe["dataset"] == part]
            chosen, others = choose([stored.candidates(recipes[i]) for i in places])
            left_out += others
            for i, candidate in zip(places, chosen, strict=True):
                unknown = Resolved(Cell(**recipes[i], split_sha256=UNKNOWN), "")
                found[i] = unknown if candidate is None else Resolved(candidate.cell, candidate.data_sha256)
        return [found[i] if i in found else self.cell(recipe) for i, recipe in enumerate(recipes)], absent, left_out

    def absence(self, part: Part) -> str:
        """Return why a dataset's files can't be used; "" where they can."""
        try:
            content_of(part, self.roots)
        except BenchError as error:
            return str(error)
        return ""


def resolve_grid(request: Request, absent: bool = False) -> Plan:
    """Expand a grid into cells and draw their splits; nothing is written.

    Args:
        request: what was asked for.
        absent: data needn't be here: cells on it are then those of the store's runs.

    Raises:
        BenchError: anything wrong with the grid or the data.
    """
    asked = read_request(request)
    where, resolver = asked.where, Resolver(asked.where, DataRoots.parse(request.data))
    points = list(expand(asked.grid, where, asked.rest, replaced=any(key in asked.written.axes for key in asked.sets)))
    if not points:
        raise BenchError(f"{where}: the grid has no cells (every combination is excluded)")
    recipes = [resolver.recipe(point.raw) for point in points]
    if absent:
        resolved, missing, left_out = resolver.known_cells(recipes, request.store)
    else:
        resolved, missing, left_out = resolver.cells(recipes), {}, []
    _check_distinct(points, resolved, where)
    if asked.grid.select == "selected" and not any(one.cell.evaluation.held_out for one in resolved):
        raise BenchError(f"{where}: select: 'selected' needs evaluation.select_on 'holdout' and evaluation.holdout")
    coords = coordinates([(p, r.cell) for p, r in zip(points, resolved, strict=True)], asked.grid, where)
    cells = [
        PlannedCell(one.cell, labels, point.values, point.raw.get("profile", {}), one.data_sha256)
        for point, one, labels in zip(points, resolved, coords, strict=True)
    ]
    manifests = {one.split.sha256: one.split for one in resolved if one.split is not None}
    contents = {one.content.sha256: one.content for one in resolved if one.content is not None}
    return Plan(request.name, asked.grid, cells, manifests, contents, asked.written, asked.sets, missing, left_out)


def _check_distinct(points: Sequence[Point], resolved: Sequence[Resolved], where: str) -> None:
    """Raise if two points are the same run."""
    known = dict[str, Point]()
    for point, one in zip(points, resolved, strict=True):
        first = known.setdefault(one.cell.id, point)
        if first is not point:
            raise BenchError(
                f"{where}: two cells are the same run, {one.cell.id}: {first.values} and {point.values}; "
                "an axis repeats a value, or an override undoes it"
            )
