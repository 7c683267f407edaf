"""The grids that ship."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pytest

from bench.data.roots import DataRoots
from bench.plan.cells import Resolver
from bench.spec.cell import PARTS, resolve_part
from bench.spec.grid import GRIDS, expand, grid_files, read_grid

SHIPPED = grid_files()


@pytest.fixture(autouse=True)
def _fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights from the Hub are known by the hash of a file that isn't here."""
    monkeypatch.setattr("methods.networks.timm_weights.name_of", lambda name: f"{name}@sha256:0")


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_every_shipped_grid_is_valid_and_titled(path: Path) -> None:
    grid = read_grid(path)
    assert grid.title
    points = list(expand(grid, str(path), {}))
    assert points
    for point in points:
        for kind in PARTS:
            resolve_part(kind, {k: v for k, v in point.raw[kind].items() if k != "label"}, path.stem)


def test_the_demo_compares_average_with_average() -> None:
    supervised, *others = (
        {key: value for key, value in p.raw["method"].items() if key != "label"}
        for p in expand(read_grid(GRIDS / "demo.yaml"), "demo", {})
    )
    assert [one["name"] for one in others] == ["classmix", "reco"]
    decays = {resolve_part("method", one, "demo").config.model_dump()["ema_decay"] for one in others}
    assert decays == {supervised["average_decay"]}


# What grids may differ in though they call it the same, and why. What one of them has as an axis may differ anyway.
KNOWN = {
    (one, other, key): "the demo is over in minutes, and every method in less than an hour"
    for one in ("demo", "synthetic-methods")
    for other in ("synthetic", "synthetic-sampling", "synthetic-seeds", "synthetic-variance")
    for key in ("schedule.iterations", "evaluation.every")
}
KNOWN |= {
    ("demo", other, "method.average_decay"): "one table is all that the demo shows: its baseline is averaged too"
    for other in ("synthetic", "synthetic-methods", "synthetic-seeds", "synthetic-variance")
}
KNOWN |= {
    ("voc-animals-tuning", "voc-animals", key): "a search has shorter runs"
    for key in ("schedule.iterations", "evaluation.every")
}
KNOWN |= {
    ("voc-animals-gpu", other, key): "a GPU has time for more images, which are carried to it small"
    for other in ("voc-animals", "voc-animals-tuning")
    for key in (
        "dataset.long_side",
        "schedule.iterations",
        "schedule.batch.labelled",
        "schedule.batch.unlabelled",
        "evaluation.every",
    )
}
KNOWN |= {
    ("prevmatch-voc-classic", other, "numerics.precision"): "its authors train in half precision"
    for other in ("unimatch-voc-blended", "unimatch-voc-classic")
}
COMPARED = ("dataset", "method", "network", "augmentation", "schedule", "optimizer", "numerics", "evaluation")
Place = tuple[str, str, str, bool]  # dataset, backbone, method by its label, whether all labels are there
Recipe = dict[str, Any]  # all options of the compared parts and sections, by their dotted keys


def flat(node: Any, key: str = "") -> Recipe:
    """Return what lies in nested mappings by dotted keys."""
    if not isinstance(node, dict):
        return {key: node}
    return {k: v for name, inner in node.items() for k, v in flat(inner, f"{key}.{name}".strip(".")).items()}


def recipes_of(path: Path) -> dict[Place, list[Recipe]]:
    """Return the recipes of a grid's cells, without their data: with all labels some methods are meant to differ."""
    resolver, found = Resolver(path.stem, DataRoots()), dict[Place, list[Recipe]]()
    for point in expand(read_grid(path), str(path), {}):
        parts = resolver.recipe(point.raw)
        label = str(point.raw["method"].get("label", parts["method"].name))
        place = parts["dataset"].name, parts["network"].config.backbone, label, parts["protocol"].name == "full"
        found.setdefault(place, []).append(flat({key: parts[key].identity() for key in COMPARED}))
    return found


def differing(one: list[Recipe], other: list[Recipe]) -> set[str]:
    """Return the keys in which any recipe of one list differs from any of the other."""
    return {key for a in one for b in other for key in {*a, *b} if a.get(key) != b.get(key)}


def test_grids_mean_the_same_by_the_same_name() -> None:
    """A method on a dataset and a backbone has one recipe in all grids, and in all cells of a grid, or it is known why."""
    grids = {path.stem: recipes_of(path) for path in SHIPPED}
    axes = {path.stem: set(read_grid(path).axes) for path in SHIPPED}
    found, compared = set[tuple[str, str, str]](), set[tuple[str, str]]()
    for one, other in combinations_with_replacement(grids, 2):
        for place in grids[one].keys() & grids[other].keys():
            compared.add((one, other))
            found |= {(one, other, key) for key in differing(grids[one][place], grids[other][place])}
    found = {(one, other, key) for one, other, key in found if key not in axes[one] | axes[other]}
    assert found == set(KNOWN)
    assert {("rc2l-ablation", "reco-voc"), ("camvid-quick", "camvid"), ("reco-voc", "voc-classic")} <= compared
    assert len({(one, other) for one, other in compared if one != other}) >= 26


def test_rc2l_has_its_own_stride_in_the_papers_tables() -> None:
    recipe = next(v[0] for k, v in recipes_of(GRIDS / "reco-voc.yaml").items() if k[2] == "rc2l")
    assert (recipe["network.output_stride"], recipe["optimizer.clip_norm"]) == (32, 5.0)
