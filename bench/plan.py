"""Planning: a grid becomes cells with ids, coordinates and splits. Run as a module it plans for :mod:`bench.outline`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.attempt import Job
from bench.data import DataRoots, as_mapping
from bench.errors import BenchError
from bench.grounds import grounds, still_hold
from bench.outline import Request, keep_outline, kept_outline
from bench.pace import workload
from bench.registry import Kind, get
from bench.spec.cell import PARTS, SECTIONS, Cell, Part, part_mapping, resolve_part
from bench.spec.grid import Grid, Point, apply, check_keys, expand, grid_path, read_grid
from bench.spec.problems import validate
from bench.spec.recipe import deviations, facts
from bench.spec.sections import Seeds
from bench.spec.text import parse_yaml
from bench.splits import draw_split, keep_split
from bench.store.files import write_json
from bench.store.run import Run


@dataclass(frozen=True)
class PlannedCell:
    """A cell and its coordinates: readable labels per axis, from which tables and plots are built.

    Attributes:
        cell: the cell.
        coords: label per axis.
        profile: the grid's changes to a cluster's profile for this cell.
    """

    cell: Cell
    coords: dict[str, Any]
    profile: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A grid's cells in grid order, with their splits' manifests by hash."""

    name: str
    grid: Grid
    cells: list[PlannedCell]
    manifests: dict[str, dict[str, Any]]


def parse_sets(values: tuple[str, ...]) -> dict[str, Any]:
    """Read ``--set key=value``, the value being YAML.

    Raises:
        BenchError: if one is malformed or its key is unknown.
    """
    sets: dict[str, Any] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise BenchError(f"--set {text}: expected key=value, e.g. --set schedule.iterations=100")
        sets[key] = parse_yaml(value, f"--set {key}")
    return sets


def read_request(request: Request) -> tuple[Grid, dict[str, Any], str]:
    """Read the grid and apply ``--set``: to the grid's own keys, to axes (replaced), and the rest to every cell.

    Returns:
        The grid, the values still to be applied to each cell, and the grid's path for messages.
    """
    path = grid_path(request.grid)
    grid = read_grid(path)
    axes, frame, rest = dict(grid.axes), grid.model_dump(), {}
    for key, value in parse_sets(request.sets).items():
        if key in axes:
            axes[key] = value if isinstance(value, list) else [value]
        elif key.split(".")[0] in ("resources", "select", "title"):
            apply(frame, key, value, f"--set {key}")
        else:
            check_keys({key: value}, "--set")
            rest[key] = value
    grid = validate(Grid, {**frame, "axes": axes}, f"{path} with --set: ")
    return grid, rest, str(path)


class Resolver:
    """Turns points into cells; parts and sections that cells share are validated once."""

    def __init__(self, where: str, roots: DataRoots) -> None:
        self.where = where
        self.roots = roots
        self.known: dict[str, Any] = {}

    def _once(self, key: str, value: Any, make: Any) -> Any:
        text = f"{key} {value!r}"
        if text not in self.known:
            self.known[text] = make()
        return self.known[text]

    def part(self, kind: Kind, raw: Mapping[str, Any]) -> Part:
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

    def cell(self, raw: Mapping[str, Any]) -> tuple[Cell, dict[str, Any]]:
        """Resolve a raw cell; return it with its split's manifest."""
        parts: dict[str, Any] = {kind: self.part(kind, raw[kind]) for kind in PARTS}
        parts["network"] = self.network(parts["network"], parts["method"])
        sections: dict[str, Any] = {}
        for name, model in SECTIONS.items():
            value = raw.get(name, {})
            if model is Seeds:
                value = {**dict.fromkeys(("split", "init", "data"), raw["seed"]), **value}
            sections[name] = self._once(
                name, value, lambda m=model, n=name, v=value: validate(m, v, f"{self.where}: {n}")
            )
        split = draw_split(parts["dataset"], parts["protocol"], sections["seeds"].split, self.roots)
        return Cell(**parts, **sections, split_sha256=split["sha256"]), split


def _label(kind: Kind, raw: Mapping[str, Any], axis_values: list[Any]) -> str:
    """Name a part in tables: its label; else its name, with its options if the axis has the name more than once."""
    if "label" in raw:
        return str(raw["label"])
    same = [v for v in axis_values if part_mapping(kind, v, kind)["name"] == raw["name"]]
    options = ", ".join(f"{k}={v}" for k, v in raw.items() if k != "name")
    return f"{raw['name']} ({options})" if len(same) > 1 and options else str(raw["name"])


def coordinates(point: Point, cell: Cell, grid: Grid) -> dict[str, Any]:
    """Return the labels of a cell per axis; `dataset`, `network`, `method`, `protocol`, `labels`, `seed` always."""
    coords: dict[str, Any] = {
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


def make_plan(request: Request) -> Plan:
    """Expand a grid into cells, draw their splits, and keep the splits and the outline in the store.

    Raises:
        BenchError: anything wrong with the grid or the data; nothing is written then.
    """
    grid, sets, where = read_request(request)
    resolver = Resolver(where, DataRoots.parse(request.data))
    cells: dict[str, PlannedCell] = {}
    manifests: dict[str, dict[str, Any]] = {}
    for point in expand(grid, where, sets, replaced=bool(request.sets)):
        cell, split = resolver.cell(point.raw)
        coords = coordinates(point, cell, grid)
        if cell.id in cells:
            raise BenchError(
                f"{where}: two cells are the same run, {cell.id}: {cells[cell.id].coords} and {coords}; "
                "an axis repeats a value, or an override undoes it"
            )
        cells[cell.id] = PlannedCell(cell, coords, point.raw.get("profile", {}))
        manifests[split["sha256"]] = split
    if not cells:
        raise BenchError(f"{where}: the grid has no cells (every combination is excluded)")
    plan = Plan(request.name, grid, list(cells.values()), manifests)
    _keep(plan, request)
    return plan


def _keep(plan: Plan, request: Request) -> None:
    for manifest in plan.manifests.values():
        keep_split(request.store, manifest)
    cells = [planned.cell for planned in plan.cells]
    more = {"work": [asdict(work) for work in workload(cells)], "grounds": grounds(cells)}
    keep_outline(request, {**make_outline(plan, request), **more})


def planned_outline(request: Request) -> dict[str, Any]:
    """Return a grid's outline as planning now makes it: the kept one, where what it rests on is as it was.

    Raises:
        BenchError: see :func:`make_plan`.
    """
    known = kept_outline(request)
    if known is None or not still_hold(known["grounds"], request.store, DataRoots.parse(request.data)):
        make_plan(request)
        known = kept_outline(request)
    if known is None:
        raise BenchError("the code changed while the grid was being planned; run the command again")
    return known


def make_outline(plan: Plan, request: Request | None = None) -> dict[str, Any]:
    """Return what reporting needs of a plan, as JSON types; of a request, also how it deviates from the grid's recipe."""
    outlined: dict[str, Any] = {
        "name": plan.name,
        "title": plan.grid.title or plan.name,
        "select": plan.grid.select,
        "iterations": plan.cells[0].cell.schedule.iterations,
        "recipe": plan.grid.recipe,
        "axes": [[key, len(values)] for key, values in plan.grid.axes.items()],
        "cells": [
            {
                "id": p.cell.id,
                "slug": p.cell.slug,
                "order": order,
                "coords": p.coords,
                "iterations": p.cell.schedule.iterations,
            }
            for order, p in enumerate(plan.cells)
        ],
    }
    if plan.grid.published is not None:
        outlined["published"] = plan.grid.published.model_dump(mode="json")
        for entry, p in zip(outlined["cells"], plan.cells, strict=True):
            entry["facts"] = facts(p.cell)
    if request is not None and request.sets:
        _, rest, where = read_request(request)
        points = [point.values for point in expand(plan.grid, where, rest, replaced=True)]
        found, keys = deviations(read_grid(grid_path(request.grid)), parse_sets(request.sets), points)
        outlined["deviations"] = found
        for entry, deviating in zip(outlined["cells"], keys, strict=True):
            entry["deviations"] = deviating
    return outlined


def write_cells(plan: Plan, cells: list[PlannedCell], request: Request, retry: bool) -> tuple[list[Job], int]:
    """Write cell.json for each cell that is to run; return the jobs, and how many of `cells` are done.

    Args:
        plan: the whole grid.
        cells: those to run.
        request: for the store and the data folders.
        retry: also run cells that diverged.
    """
    roots = as_mapping(DataRoots.parse(request.data), sorted({c.cell.dataset.name for c in cells}))
    resources = plan.grid.resources.model_dump(mode="json")
    jobs, done = [], 0
    for planned in cells:
        run = Run(request.store / planned.cell.id)
        if run.result.exists():
            done += 1
            continue
        if not run.cell.exists():
            run.path.mkdir(parents=True, exist_ok=True)
            write_json(run.cell, describe_cell(plan.name, planned))
        jobs.append(Job(str(request.store.resolve()), planned.cell.id, roots, resources, retry))
    return jobs, done


def describe_cell(grid: str, planned: PlannedCell) -> dict[str, Any]:
    """Return what cell.json holds: the spec to run, what of it identifies the run, and the grid that first asked."""
    cell = planned.cell
    return {
        "id": cell.id,
        "slug": cell.slug,
        "grid": grid,
        "coords": planned.coords,
        "spec": cell.spec(),
        "identity": cell.identity(),
    }


def _main() -> None:
    grid, sets, data = json.loads(sys.argv[1])
    try:
        make_plan(Request(grid, tuple(sets), tuple(data), Path(sys.argv[2])))
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    _main()
