"""What a plan tells reporting: the facts that a published figure must agree with, and how --set deviates from the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.spec.grid import read_grid
from bench.store.summary import Summary
from tests.typed import bench

ROOT = Path(__file__).parents[3]
TEXT = """
title: Small
recipe:
  dataset: synthetic
  network: {name: deeplabv3plus, backbone: tiny}
  augmentation: {reco: {crop_size: 64}}
  schedule: {iterations: 400}
  evaluation: {mode: padded, size: [96, 128]}
axes:
  method: [supervised, classmix, {name: reco, num_queries: 64, label: reco}]
  protocol: [{few_labels: 16}]
  seed: [0, 1]
published: {papers: reco, methods: {supervised: Supervised, reco: [ReCo+ClassMix, ReCo]}}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def summary(grid: Path, *sets: str) -> Summary:
    return plan_and_keep(Request(str(grid), sets, (), grid.parent / "store"))[1]


def deviations(found: Summary) -> list[tuple[Any, ...]]:
    return [(d.key, d.value, d.recipe, d.cells) for d in found.deviations or []]


def test_facts_of_cells_that_are_compared(grid: Path) -> None:
    found = summary(grid)
    assert found.published is not None
    assert found.published.papers == ["reco"]
    assert found.published.methods == {"supervised": ["Supervised"], "reco": ["ReCo+ClassMix", "ReCo"]}
    assert found.cells[0].facts is not None
    assert (
        found.cells[0].facts.items()
        >= {
            **{"dataset": "synthetic", "network": "deeplabv3plus", "backbone": "tiny", "weights": "none"},
            **{"output_stride": "16", "crop": "64x64", "evaluation": "padded 96x128", "iterations": "400"},
            **{"eval_split": "val", "evaluations": "2", "optimizer.lr": "0.0025", "schedule.batch": "10+10"},
            **{"augmentation": "reco", "augmentation.scale": "0.5, 1.5", "method.batch_factor": "2"},
        }.items()
    )
    assert found.cells[-1].facts is not None and found.cells[-1].facts["method.num_queries"] == "64"
    assert "stem" not in found.cells[0].facts  # `tiny` is no ResNet of torchvision's
    assert found.deviations is None


def test_a_grid_without_papers_has_no_facts(grid: Path) -> None:
    grid.write_text(TEXT[: TEXT.index("published:")])
    found = summary(grid)
    assert found.published is None
    assert found.cells[0].facts is None


def test_what_set_changes_is_listed_with_the_recipes_value(grid: Path) -> None:
    sets = ("schedule.iterations=2", "optimizer.lr=0.01", "network.weights=none", "select=best")
    found = summary(grid, *sets)
    assert deviations(found) == [
        ("schedule.iterations", 2, 400, 6),
        ("optimizer.lr", 0.01, 0.0025, 6),  # the recipe leaves it to the default, which is known
        ("network.weights", "none", "default", 6),
        ("select", "best", "last", 6),
    ]
    assert found.cells[0].deviations == ["schedule.iterations", "optimizer.lr", "network.weights", "select"]


def test_what_changes_nothing_is_no_deviation(grid: Path) -> None:
    same = (
        "schedule.iterations=400",
        "optimizer.lr=0.0025",
        "augmentation={reco: {crop_size: 64}}",
        "method=[classmix]",
    )
    assert (
        deviations(
            summary(grid, *same, "seed=1", "resources.threads=1", "title=Mine", "evaluation.also=[{split: test}]")
        )
        == []
    )


def test_of_an_axis_only_new_values_deviate(grid: Path) -> None:
    found = summary(grid, "method=[supervised, {name: reco, num_queries: 32}]", "seed=[0, 5]")
    usual = ["supervised", "classmix", {"name": "reco", "num_queries": 64, "label": "reco"}]
    assert deviations(found) == [
        ("method", [{"name": "reco", "num_queries": 32}], usual, 2),
        ("seed", [5], [0, 1], 2),
    ]
    assert [cell.deviations for cell in found.cells] == [[], ["seed"], ["method"], ["method", "seed"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("published: {papers: [], methods: {a: b}}", "published.papers"),
        ("published: {papers: reco, methods: {}}", "published.methods"),
        ("published: {papers: reco, methods: {a: b}, match: [backbones]}", "published.match"),
        ("published: {paper: reco, methods: {a: b}}", "published.paper"),
    ],
)
def test_a_wrong_published_section_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BenchError, match=message):
        read_grid(path)


def test_the_table_of_a_grid_that_has_not_run(grid: Path, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "store"))
    data = json.loads(bench("table", str(grid), *store, "--set", "schedule.iterations=2", "--json"))
    assert {cell["verdict"] for cell in data["sections"][0]["cells"]} == {"not published"}  # no paper has this set
    assert data["deviations"][0]["key"] == "schedule.iterations"
    compared = bench("table", str(grid), *store, "--compare", "reco", "supervised")
    assert "no pair is done yet" in compared


def test_classes_and_a_comparison_are_not_asked_for_together() -> None:
    said = bench("table", "demo", "--per-class", "--compare", "reco", "supervised", code=2)
    assert said == "error: --per-class, --compare and --runs: give one of them\n"
