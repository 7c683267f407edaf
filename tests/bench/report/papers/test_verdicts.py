"""Measured beside published: verdicts by hand, which figure is compared with, and what the notes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.report import records, tables
from bench.report.model import Table, TableCell
from bench.report.papers import published
from bench.report.papers.verdicts import (
    DIFFERS,
    NOT_PUBLISHED,
    OTHER_RECIPE,
    REPRODUCED,
    UNSETTLED,
)
from bench.spec.deviations import Deviation
from bench.spec.grid import Published
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

FIGURE: dict[str, Any] = {
    **{"dataset": "camvid", "protocol": "few_labels", "labels": "20", "method": "Method A", "miou": 50.0},
    **{"provenance": "authors", "source": "README", "address": "https://github.com/a/b"},
}
FACTS = {"dataset": "camvid", "network": "net", "backbone": "resnet18", "crop": "128x128", "evaluation": "sliding 9x9"}
FACTS |= {"iterations": "400", "stem": "7x7", "dataset_split": "official", "eval_split": "val"}
FACTS |= {
    "optimizer.lr": "0.0025",
    "schedule.batch": "10+10",
    "augmentation.scale": "0.5, 1.5",
    "loss.supervised": "ce",
}
Grid = Summary


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of papers of this test's own."""
    path = tmp_path / "papers"
    path.mkdir()
    monkeypatch.setattr(published, "FOLDER", path)
    return path


def write(folder: Path, key: str, *figures: dict[str, Any], **header: Any) -> None:
    content = {"key": key, "title": f"Paper {key}", **header, "figures": [{**FIGURE, **figure} for figure in figures]}
    (folder / f"{key}.yaml").write_text(yaml.safe_dump(content))


def build(store: Store, grid: Grid, papers: list[str], deviations: list[Deviation] | None = None, **asks: Any) -> Table:
    methods = {"a": ["Method A"], "b": ["Method B"], "c": ["Method C"], "d": ["Method D"]}
    asked = Published.model_validate({"papers": papers, "methods": methods, **asks})
    cells = [cell.model_copy(update={"facts": cell.facts or FACTS, "iterations": 400}) for cell in store.cells]
    summary = grid.model_copy(update={"published": asked, "cells": cells, "deviations": deviations})
    return tables.build(records.load(store.path, store.cells), summary)


def cell(table: Table, row: int = 0) -> TableCell:
    return table.sections[0].rows[row].cells[0]


def test_a_cell_shows_the_figure_its_selection_the_verdict_and_the_gap(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {"sd": 0.5, "n": 3, "selection": "best-on-val", "evaluations": 200})
    for seed, miou in enumerate([47.0, 49.0, 48.5]):
        store.done(store.plan("a", "20", seed), miou, best=miou + 9 + seed)
    store.plan("z", "20", 0)
    table = build(store, grid, ["p"])
    found = cell(table)
    assert found.stats["last"].below == {
        **{"published": "50.0 ± 0.5 (3) authors", "selection": "best of 200", "verdict": "best: +8.2 differs"},
        "best − last": "+10.0",
    }
    assert found.stats["best"].below == {}  # the other rule's view has the scores alone
    assert found.facts["difference"] == pytest.approx((56 + 59 + 59.5) / 3 - 50)
    names = ("published_source", "published_selection", "published_evaluations", "verdict_rule", "verdict", "gap_max")
    assert [found.facts[name] for name in names] == ["README", "best-on-val", 200, "best", "differs", 11.0]
    assert cell(table, 1).stats["last"].below == {"verdict": "not published"}
    assert "Cells: 1 differs, 1 not published." in table.notes
    gap = "what choosing the checkpoint on the reported images adds): median 10.0, at most 11.0 mIoU (3 runs)."
    assert f"Gap (best − last, {gap}" in table.notes
    assert "Selection of the published figures: 1 best of 200." in table.notes


def test_an_unknown_selection_is_said(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {})
    store.done(store.plan("a", "20", 0), 50.0)
    store.change(0, facts={**FACTS, "evaluations": "40"})
    table = build(store, grid, ["p"])
    assert cell(table).stats["last"].below["selection"] == "unknown"
    assert "Selection of the published figures: 1 unknown; runs of this grid are evaluated 40 times." in table.notes
    assert any(
        text.startswith("Selection unknown for 1 of 1 published figures: compared under 'last'") for text in table.notes
    )


def test_the_margin_is_the_grids_and_is_stated(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {})
    for seed, miou in enumerate([51.4, 51.5, 51.6]):
        store.done(store.plan("a", "20", seed), miou)
    assert cell(build(store, grid, ["p"])).facts["verdict"] == DIFFERS
    table = build(store, grid, ["p"], margin=2.0)
    assert (cell(table).facts["verdict"], cell(table).facts["margin"]) == (REPRODUCED, 2.0)
    assert any("within ±2 mIoU" in text for text in table.notes)


def test_the_best_rank_counts_and_the_others_are_listed(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {"miou": 60.0, "provenance": "summary"}, {"miou": 61.0, "provenance": "reprint"})
    write(folder, "q", {"miou": 50.0}, {"miou": 51.0, "n": 3})
    store.done(store.plan("a", "20", 0), 51.5)
    table = build(store, grid, ["p", "q"])
    assert cell(table).stats["last"].below["published"] == "51.0 (3) authors"
    note = (
        "a, labels 20: compared with 51.0 (3) (q); also published: "
        "50.0 (q, authors), 61.0 (p, reprint), 60.0 (p, summary)."
    )
    assert note in table.notes
    assert "1 cell has a single run, which can't settle anything." in table.notes


def test_of_one_rank_the_paper_named_first_counts(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {"miou": 50.0})
    write(folder, "q", {"miou": 51.0})
    store.plan("a", "20", 0)
    assert cell(build(store, grid, ["q", "p"])).facts["published_miou"] == 51.0
    assert cell(build(store, grid, ["p", "q"])).facts["published_miou"] == 50.0


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"network": "other"}, "network net, not other"),
        ({"backbone": "resnet101"}, "backbone resnet18, not resnet101"),
        ({"stem": "deep"}, "stem 7x7, not deep"),
        ({"dataset_split": "reco"}, "dataset_split official, not reco"),
        ({"evaluation": "whole original size"}, "evaluation sliding 9x9, not whole original size"),
    ],
)
def test_another_protocol_is_named(store: Store, grid: Grid, folder: Path, figure: dict[str, Any], words: str) -> None:
    write(folder, "p", figure)
    store.done(store.plan("a", "20", 0), 50.0)
    table = build(store, grid, ["p"])
    assert cell(table).stats["last"].below["verdict"] == "protocol differs"
    assert cell(table).facts["difference"] is None
    assert f"Protocol differs ({words}): all cells." in table.notes


def test_a_mean_without_some_classes_is_another_protocol(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {})
    store.done(store.plan("a", "20", 0), 50.0)
    store.change(0, facts={**FACTS, "evaluation.ignore_classes": "background"})
    table = build(store, grid, ["p"])
    assert cell(table).stats["last"].below["verdict"] == "protocol differs"
    assert "Protocol differs (mIoU without background, not over all classes): all cells." in table.notes


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"crop": "321x321", "iterations": 40000}, "crop 128x128, not 321x321; iterations 400, not 40000"),
        ({"recipe": {"optimizer.lr": 0.01}}, "optimizer.lr 0.0025, not 0.01"),
        ({"recipe": {"schedule.batch": "8+8", "augmentation.flip_p": 0.5}}, "schedule.batch 10+10, not 8+8"),
        ({"recipe": {"loss.supervised": "ohem"}}, "loss.supervised ce, not ohem"),
    ],
)
def test_another_recipe_is_named(store: Store, grid: Grid, folder: Path, figure: dict[str, Any], words: str) -> None:
    write(folder, "p", figure)
    for seed in range(3):
        store.done(store.plan("a", "20", seed), 50.0 + seed / 10)
    table = build(store, grid, ["p"])
    assert cell(table).facts["verdict"] == OTHER_RECIPE
    assert any(text.startswith(f"Recipe differs ({words}") for text in table.notes)
    assert cell(build(store, grid, ["p"], match=["network"])).facts["verdict"] == REPRODUCED


def test_equal_values_are_equal_however_they_are_written(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {"recipe": {"optimizer.lr": 2.5e-3, "augmentation.scale": [0.5, 1.50], "optimizer.warmup": 5}})
    store.done(store.plan("a", "20", 0), 50.0)
    assert cell(build(store, grid, ["p"])).facts["recipe_differences"] == []


def test_what_agrees_or_is_not_said_is_no_difference(store: Store, grid: Grid, folder: Path) -> None:
    # `sliding` without a size; the weights are unknown on the cell's side, the rest on the figure's.
    write(folder, "p", {"evaluation": "sliding", "weights": "imagenet", "network": "net", "iterations": 400})
    store.done(store.plan("a", "20", 0), 50.0)
    assert cell(build(store, grid, ["p"])).facts["protocol_differences"] == []


def test_a_figure_of_the_same_protocol_goes_before_one_of_better_rank(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", {"crop": "321x321"}, {"miou": 40.0, "provenance": "summary"})
    store.plan("a", "20", 0)
    assert cell(build(store, grid, ["p"])).facts["published_miou"] == 40.0


DEVIATIONS = [
    Deviation(key="schedule.iterations", value=2, recipe=400, cells=2),
    Deviation(key="numerics.precision", value="bf16", recipe="fp32", cells=1),
]


UNKNOWN_TO_FACTS = Deviation(key="schedule.momentum_of_all", value=2, recipe=400, cells=1)


def test_a_cell_changed_by_set_has_another_recipe_and_arithmetic_has_not(
    store: Store, grid: Grid, folder: Path
) -> None:
    write(folder, "p", {}, {"method": "Method B"}, {"method": "Method C", "iterations": 400})
    for method in ("a", "b", "c"):
        store.done(store.plan(method, "20", 0), 50.0)
    store.change(0, deviations=["schedule.momentum_of_all"])
    store.change(1, deviations=["numerics.precision"])
    store.change(2, deviations=["schedule.iterations"], facts={**FACTS, "iterations": "2"})
    table = build(store, grid, ["p"], [*DEVIATIONS, UNKNOWN_TO_FACTS])
    assert [row.cells[0].facts["verdict"] for row in table.sections[0].rows] == [OTHER_RECIPE, UNSETTLED, OTHER_RECIPE]
    assert "Recipe differs (schedule.momentum_of_all 2, not 400): a, labels 20." in table.notes
    assert "Recipe differs (iterations 2, not 400): c, labels 20." in table.notes  # said once, not twice
    recipe = (
        "Recipe: the grid's, but changed by --set for 3 of 3 runs: schedule.iterations 2, not 400 (2 runs); "
        "numerics.precision bf16, not fp32 (1 run); schedule.momentum_of_all 2, not 400 (1 run)."
    )
    assert recipe in table.notes


def test_deviations_are_told_of_without_anything_published_too(store: Store, grid: Grid) -> None:
    store.cells = []
    store.plan("a", "20", 0)
    store.change(0, deviations=["schedule.iterations"])
    summary = grid.model_copy(update={"cells": store.cells, "deviations": DEVIATIONS[:1]})
    table = tables.build(records.load(store.path, store.cells), summary)
    assert any(text.startswith("Recipe: the grid's, but changed by --set for 1 of 1 run: ") for text in table.notes)


def test_rank_agreement(store: Store, grid: Grid, folder: Path) -> None:
    scores = {"a": 40.0, "b": 50.0, "c": 60.0, "d": 70.0}
    write(folder, "p", *({"method": f"Method {name.upper()}", "miou": miou} for name, miou in scores.items()))
    for name, miou in {"a": 41.0, "b": 62.0, "c": 55.0, "d": 71.0}.items():
        store.done(store.plan(name, "20", 0), miou)
        store.done(store.plan(name, "full", 0, protocol="full"), miou)
    table = build(store, grid, ["p"])
    # One of six pairs is the other way round.
    assert table.facts["agreement"][0]["kendall_tau_b"] == pytest.approx(4 / 6)
    note = (
        "Rank agreement with the papers (Kendall τ-b): few_labels 20: 0.67 (4 methods); "
        "full (20 images): not meaningful (0 methods)."
    )
    assert note in table.notes


def test_splits_are_named_by_their_hash(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p")
    for seed in (0, 1):
        store.done(store.plan("a", "20", seed), 50.0, split_sha256=f"{seed}" * 64)
        store.done(store.plan("a", "full", seed), 50.0, split_sha256="f" * 64)
    note = "Splits (SHA-256): 20: 00000000 (seed 0), 11111111 (seed 1); full (20 images): ffffffff (every seed)."
    assert note in build(store, grid, ["p"]).notes


def test_a_paper_without_figures_says_why(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p", note="nobody could open it")
    store.done(store.plan("a", "20", 0), 50.0)
    table = build(store, grid, ["p"])
    assert "Not published: Paper p: nobody could open it." in table.notes
    assert "Recipe: no run deviates from the grid's." in table.notes
    assert cell(table).stats["last"].below["verdict"] == NOT_PUBLISHED


def test_a_grid_of_two_networks_says_where(store: Store, grid: Grid, folder: Path) -> None:
    write(folder, "p")
    for network in ("resnet18", "tiny"):
        store.done(store.plan("a", "20", 0, network=network), 50.0)
    store.change(1, facts={**FACTS, "backbone": "tiny"})
    write(folder, "p", {"backbone": "resnet18"})
    table = build(store, grid, ["p"])
    assert "Protocol differs (backbone tiny, not resnet18): camvid, tiny, a, labels 20." in table.notes
    assert any(text.startswith("Splits (SHA-256), camvid, tiny: 20:") for text in table.notes)
