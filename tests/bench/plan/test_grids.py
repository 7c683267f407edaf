"""The grids that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.spec.cell import PARTS, resolve_part
from bench.spec.grid import GRIDS, expand, read_grid

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
