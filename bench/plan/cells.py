"""A grid's points become cells: parts resolved, splits drawn, coordinates named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.content import content_of
from bench.data.health import usable, warnings_of
from bench.data.roots import DataRoots
from bench.data.splits import draw_split
from bench.errors import BenchError
from bench.plan.absent import UNKNOWN, StoredRuns, choose
from bench.plan.coordinates import coordinates
from bench.plan.request import Asked, Request, read_request
from bench.plan.tuning import Tuned, apply_settings, check_seeds
from bench.registry import Kind
from bench.spec.cell import PARTS, SECTIONS, Cell, Part, resolve_part
from bench.spec.epochs import in_steps
from bench.spec.grid import Grid, Point, expand
from bench.spec.messages import validate
from bench.spec.network import own_network
from bench.spec.seeds import Seeds
from bench.spec.shares import check_shares
from bench.store.summary import Coords
from bench.yaml import Raw, RawView

WAITS = "waits for its setting"  # stands for the split of a cell whose setting is yet to be chosen

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
        until: the step at which a run of it stops for now, a rung of halving; None for its end.
        waits: a setting is yet to be chosen for it, so that it can't run and no run is it.
    """

    cell: Cell
    coords: Coords
    values: Raw = field(default_factory=dict)
    profile: Raw = field(default_factory=dict)
    data_sha256: str = ""
    until: int | None = None
    waits: bool = False


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
        warnings: what a person should know of the data, a line each; only where they had to be here.
        tuned: the groups of a tuned grid; `trials` are the cells of their trials.
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
    warnings: list[str] = field(default_factory=list)
    tuned: Tuned | None = None
    trials: list[PlannedCell] = field(default_factory=list)

    def runnable(self) -> list[PlannedCell]:
        """Return the cells that can run now: all of the grid's; of a tuned grid's, open trials and settled cells."""
        if self.tuned is None:
            return self.cells
        todo = {cell: until for group in self.tuned.groups if group.outcome for cell, until in group.outcome.todo}
        trials = [replace(trial, until=todo[trial.cell.id]) for trial in self.trials if trial.cell.id in todo]
        return [*trials, *(cell for cell in self.cells if not cell.waits)]


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
            made = lambda m=model, n=name, v=value: validate(m, v, f"{self.where}: {n}")  # noqa: E731
            sections[name] = self._once(name, value, made)
        return {**parts, **sections}

    def cell(self, recipe: Raw) -> Resolved:
        """Draw a recipe's split and look at its data."""
        content = content_of(recipe["dataset"], self.roots)
        recipe["evaluation"].check_classes(content.classes, self.where)
        held = recipe["evaluation"].held_out
        split = draw_split(recipe["dataset"], recipe["protocol"], recipe["seeds"].split, self.roots, held)
        sections = in_steps(recipe, len(split.unlabelled), self.where)
        cell = Cell(**{**recipe, **sections}, split_sha256=split.sha256, data_sha256=content.identity)
        return Resolved(cell, content.sha256, split, content)

    def warnings(self, resolved: Sequence[Resolved]) -> list[str]:
        """Return what a person should know of the data and splits of some cells, whose data are here.

        Raises:
            BenchError: if a run on them would fail, or its score be meaningless.
        """
        pinned = {one.cell.dataset for one in resolved if one.content is not None and one.content.pinned}
        parts = dict.fromkeys(one.cell.dataset for one in resolved if one.cell.dataset not in pinned)
        said = [line for part in parts for line in usable(part, self.roots)]
        drawn = [(one.cell, one.split) for one in resolved if one.split is not None]
        return list(dict.fromkeys([*said, *warnings_of(drawn, self.roots, self.where)]))

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

    def all_cells(
        self, recipes: Sequence[Raw], store: Path, absent: bool
    ) -> tuple[list[Resolved], dict[Part, str], list[str]]:
        """Resolve recipes; see :meth:`known_cells` for `absent`, without which all data must be here."""
        return self.known_cells(recipes, store) if absent else ([self.cell(recipe) for recipe in recipes], {}, [])

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
    unsplit = [Cell(**recipe, split_sha256=UNKNOWN) for recipe in recipes]
    coords = coordinates(list(zip(points, unsplit, strict=True)), asked.grid, where)
    tuned, waiting, trials, missing, left_out = None, set[int](), list[Resolved](), dict[Part, str](), list[str]()
    if asked.grid.tune is not None:
        check_seeds(asked.grid.tune, unsplit, where)
        tuned = Tuned.of(request.name, asked.grid, points, where)
        raws = [resolver.recipe(raw) for raw in tuned.raws()]
        trials, missing, left_out = resolver.all_cells(raws, request.store, absent)
        tuned.settle(one.cell for one in trials)
        tuned.look(coords, request.store)
        recipes, waiting = _chosen(resolver, tuned, points, where)
    known = [i for i in range(len(points)) if i not in waiting]
    found, more_missing, more_left = resolver.all_cells([recipes[i] for i in known], request.store, absent)
    _check([points[i] for i in known], found, asked)
    settled = dict(zip(known, found, strict=True))
    every = [*found, *trials]
    check_shares((one.cell for one in every), asked.grid.resources.processes, asked.where)
    return Plan(
        name=request.name,
        grid=asked.grid,
        cells=[_planned(point, settled.get(i), recipes[i], coords[i]) for i, point in enumerate(points)],
        manifests={one.split.sha256: one.split for one in every if one.split is not None},
        contents={one.content.sha256: one.content for one in every if one.content is not None},
        written=asked.written,
        sets=asked.sets,
        absent={**missing, **more_missing},
        left_out=list(dict.fromkeys([*left_out, *more_left])),
        warnings=[] if absent else resolver.warnings(every),
        tuned=tuned,
        trials=[] if tuned is None else _planned_trials(tuned, points, trials),
    )


def _planned(point: Point, resolved: Resolved | None, recipe: Raw, labels: Coords) -> PlannedCell:
    """Return a planned cell; one that waits for its setting is None, and a cell that no run is stands for it."""
    one = resolved or Resolved(Cell(**recipe, split_sha256=WAITS), "")
    profile = point.raw.get("profile", {})
    return PlannedCell(one.cell, labels, point.values, profile, one.data_sha256, waits=resolved is None)


def _check(points: Sequence[Point], resolved: Sequence[Resolved], asked: Asked) -> None:
    """Raise if two points are the same run, or no cell knows the headline rule."""
    _check_distinct(points, resolved, asked.where)
    if asked.grid.select == "selected" and not any(one.cell.evaluation.held_out for one in resolved) and resolved:
        why = "select: 'selected' needs evaluation.select_on 'holdout' and evaluation.holdout"
        raise BenchError(f"{asked.where}: {why}")


def _chosen(resolver: Resolver, tuned: Tuned, points: Sequence[Point], where: str) -> tuple[list[Raw], set[int]]:
    """Return the recipes of a tuned grid's cells, with the chosen settings, and the places of those that wait for one."""
    raws, waiting = [point.raw for point in points], set[int]()
    for group in tuned.groups:
        changes = tuned.changes(group)
        for place in group.places:
            if changes is None:
                waiting.add(place)
            else:
                raws[place] = apply_settings(raws[place], changes, where)
    return [resolver.recipe(raw) for raw in raws], waiting


def _planned_trials(tuned: Tuned, points: Sequence[Point], resolved: Sequence[Resolved]) -> list[PlannedCell]:
    """Return the cells of all trials, each once: two trials may have the same setting."""
    rest, found = iter(resolved), dict[str, PlannedCell]()
    for group in tuned.groups:
        point = points[group.places[0]]
        for trial in group.trials:
            for seed in tuned.tune.seeds:
                one, labels = next(rest), tuned.labels(group, trial, seed)
                planned = PlannedCell(one.cell, labels, point.values, point.raw.get("profile", {}), one.data_sha256)
                found.setdefault(one.cell.id, planned)
    return list(found.values())


def _check_distinct(points: Sequence[Point], resolved: Sequence[Resolved], where: str) -> None:
    """Raise if two points are the same run."""
    known = dict[str, Point]()
    for point, one in zip(points, resolved, strict=True):
        if (first := known.setdefault(one.cell.id, point)) is not point:
            raise BenchError(
                f"{where}: two cells are the same run, {one.cell.id}: {first.values} and {point.values}; "
                "an axis repeats a value, or an override undoes it"
            )
