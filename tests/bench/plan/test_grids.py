"""The grids that ship."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from bench import registry
from bench.data.roots import DataRoots
from bench.plan.cells import Resolver
from bench.spec.cell import PARTS, resolve_part
from bench.spec.grid import GRIDS, expand, read_grid
from bench.spec.identities import changed
from bench.spec.yaml import Raw

SHIPPED = [path for path in sorted(GRIDS.glob("*.yaml")) if path.stem != "memory"]


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_every_shipped_grid_is_valid_and_titled(path: Path) -> None:
    grid = read_grid(path)
    assert grid.title
    points = list(expand(grid, str(path), {}))
    assert points
    for point in points:
        for kind in PARTS:
            resolve_part(kind, {k: v for k, v in point.raw[kind].items() if k != "label"}, path.stem)


def test_the_demo_runs_every_method_on_two_budgets() -> None:
    points = list(expand(read_grid(GRIDS / "demo.yaml"), "demo", {}))
    ours = {e.name for e in registry.entries("method") if e.cls.__module__.startswith("methods.")}
    assert {p.raw["method"]["name"] for p in points} == ours
    assert len({str(p.raw["protocol"]) for p in points}) == 2


# What grids may differ in though they call it the same, and why.
KNOWN = {
    # the demo is over in minutes
    ("demo", "synthetic", "schedule.iterations 400, now 2000"),
    ("demo", "synthetic", "evaluation.every 100, now 500"),
    ("demo", "synthetic-sampling", "schedule.iterations 400, now 2000"),
    ("demo", "synthetic-sampling", "evaluation.every 100, now 500"),
    ("demo", "synthetic-seeds", "schedule.iterations 400, now 2000"),
    ("demo", "synthetic-seeds", "evaluation.every 100, now 500"),
}
COMPARED = ("dataset", "method", "network", "augmentation", "schedule", "optimizer", "numerics", "evaluation")


def test_grids_mean_the_same_by_the_same_name() -> None:
    """A method on a dataset and a backbone has one recipe in all grids, or the difference is known."""
    places: dict[tuple[str, str, str], dict[str, list[Raw]]] = {}
    for path in SHIPPED:
        grid, resolver = read_grid(path), Resolver(path.stem, DataRoots())
        for point in expand(grid, str(path), {}):
            recipe = resolver.recipe(point.raw)
            label = str(point.raw["method"].get("label", recipe["method"].name))
            place = recipe["dataset"].name, recipe["network"].config.backbone, label
            identity = {key: recipe[key].identity() for key in COMPARED}
            places.setdefault(place, {}).setdefault(path.stem, []).append(identity)
    assert sum(len(grids) > 1 for grids in places.values()) >= 15
    found = set()
    for grids in places.values():
        for one, other in combinations(grids, 2):
            differences = [changed(a, b) for a in grids[one] for b in grids[other]]
            found |= {(one, other, word) for word in min(differences, key=len)}
    assert found == KNOWN
