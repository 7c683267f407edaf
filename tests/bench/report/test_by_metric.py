"""Tables of another metric: values worked out by hand, and runs whose matrices are missing, damaged or another's."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from bench.errors import BenchError
from bench.report import by_metric, frame, pairs, records, tables
from bench.report.formats.render import render
from bench.report.model import Table
from bench.report.statistics.stored import between
from bench.store.confusion import Confusion, ImageCounts, confusion_path, write_confusion
from bench.store.run import Run
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

# Rows: ground truth. road 60 of 80 found, car 10 of 20; sign is in neither, and 30 pixels are right otherwise.
MATRIX = [[60, 20, 0], [10, 10, 0], [0, 0, 0]]
MIOU = 100 * (60 / 90 + 10 / 40) / 2
MACC = 100 * (60 / 80 + 10 / 20) / 2  # 62.5
DICE = 100 * (120 / 150 + 20 / 50) / 2  # 60


def run_of(store: Store, seed: int, method: str = "reco", kept: tuple[str, ...] = ("last", "best")) -> Run:
    path = store.plan(method, "20", seed)
    store.done(path, MIOU)
    for which in kept:
        halves = np.array([MATRIX, np.zeros((3, 3), int)])
        write_confusion(Run(path), which, Confusion(("a", "b"), 400, ImageCounts.of(halves)))
    return Run(path)


def made(store: Store, grid: Summary, name: str, per_class: bool = False) -> Table:
    runs, found = by_metric.scored(store.path, records.load(store.path, store.cells), name, per_class)
    table = (tables.per_class if per_class else tables.build)(runs, grid)
    return by_metric.explained(table, found, papers=False)


def test_every_format_has_the_metric_its_name_and_its_definition(store: Store, grid: Summary) -> None:
    run_of(store, 0)
    run_of(store, 1)
    table = made(store, grid, "macc")
    assert any("median 0.0, at most 0.0 mAcc (2 runs)" in note for note in table.notes)
    for fmt in ("md", "latex", "html"):
        text = render(table, fmt)
        assert "mAcc" in text
        assert "62.5" in text
        assert "mean over the classes of the ground truth" in text
        assert "mIoU in" not in text
        assert "at most 0.0 mAcc" in text
    [line] = csv.DictReader(io.StringIO(render(table, "csv")))
    assert (line["metric"], line["mean_last"], line["n_last"]) == ("macc", "62.5", "2")
    data = json.loads(render(table, "json"))
    assert data["metric"] == "macc"
    assert data["sections"][0]["cells"][0]["last"]["values"] == [62.5, 62.5]


def test_a_rule_that_a_run_does_not_know_is_not_missing(store: Store, grid: Summary) -> None:
    """Without images held out there is no `selected`; with them, it has matrices of its own."""
    run_of(store, 0)
    assert made(store, grid, "macc").warnings == ()
    assert frame_of(store)["dice_selected"].isna().all()
    path = store.plan("reco", "20", 1)
    score = {"step": 200, "miou": MIOU, "pixel_accuracy": 80.0, "iou": [50.0, 40.0, None], "holdout_miou": 30.0}
    store.done(path, MIOU, selected=score)
    for which in ("last", "best", "selected"):
        write_confusion(Run(path), which, Confusion(("a",), 400, ImageCounts.of(np.array([MATRIX]))))
    assert made(store, grid, "macc").warnings == ()
    assert frame_of(store)["dice_selected"].round(6).fillna(-1).tolist() == [-1, 60.0]


def frame_of(store: Store) -> pd.DataFrame:
    runs = frame.load(store.path, store.cells)
    return runs.join(by_metric.columns(store.path, runs, "dice"))


def ignoring(store: Store, seed: int, *names: str, method: str = "reco") -> Run:
    """Plan a run whose scores leave classes out, with MATRIX."""
    run, kept = run_of(store, seed, method), [c for c in range(2) if ("road", "car")[c] not in names]
    result = json.loads(run.result.read_text())
    for which in ("last", "best"):
        result[which]["miou"] = sum((100 * 60 / 90, 100 * 10 / 40)[c] for c in kept) / len(kept)
    result |= {"ignore_classes": list(names), "evaluation": f"whole image, without {', '.join(names)}"}
    run.result.write_text(json.dumps(result))
    return run


def test_ignored_classes_are_named_wherever_a_mean_stands(store: Store, grid: Summary) -> None:
    ignoring(store, 0, "road")
    ignoring(store, 0, "road", method="classmix")
    loaded = records.load(store.path, store.cells)
    assert loaded.named == "mIoU without road"
    assert "mIoU without road in %" in tables.build(loaded, grid).sections[0].title
    each = tables.per_class(loaded, grid).sections[0]
    assert each.title.endswith("IoU in % per class")
    found = {row.keys["class"]: row.cells[0].stats["last"].text for row in each.rows}
    assert found == {"road": "50.0 (1)", "car": "40.0 (1)", "sign": "absent", "mIoU without road": "25.0 (1)"}
    dice = made(store, grid, "dice")
    assert "mean Dice without road in %" in dice.sections[0].title and dice.warnings == ()
    assert dice.sections[0].rows[0].cells[0].stats["last"].mean == pytest.approx(40)
    assert "accuracy in %" in made(store, grid, "accuracy").sections[0].title
    compared = pairs.build(loaded, grid, "reco", "classmix")
    assert any("0.0 mIoU without road above" in note for note in compared.notes)
    frame = frame_of(store)
    assert frame["ignore_classes"].tolist() == ['["road"]'] * 2 and frame["dice_last"].round(6).tolist() == [40, 40]


def test_runs_that_ignore_other_classes_are_told_apart(store: Store, grid: Summary) -> None:
    ignoring(store, 0, "road")
    run_of(store, 0, "classmix")
    loaded = records.load(store.path, store.cells)
    assert loaded.named == "mIoU"
    warnings = tables.build(loaded, grid).warnings
    assert any("Evaluation protocols differ" in line and "without road" in line for line in warnings)
    with pytest.raises(BenchError, match="share"):
        pairs.build(loaded, grid, "reco", "classmix")


def test_the_interval_over_images_leaves_ignored_classes_out(store: Store) -> None:
    a, b = ignoring(store, 0, "road"), ignoring(store, 0, "road", method="classmix")
    other = [[60, 20, 0], [5, 15, 0], [0, 0, 0]]  # car 15 of 20 + 20
    write_confusion(b, "last", Confusion(("a", "b"), 400, ImageCounts.of(np.array([other, other]))))
    write_confusion(a, "last", Confusion(("a", "b"), 400, ImageCounts.of(np.array([MATRIX, MATRIX]))))
    low, high = between(store.path, [(b.id, a.id)], "last") or (0, 0)
    assert low == high == pytest.approx(100 * 15 / 40 - 100 * 10 / 40)


def test_values_per_class(store: Store, grid: Summary) -> None:
    run_of(store, 0)
    table = made(store, grid, "dice", per_class=True)
    assert "Dice in % per class" in table.sections[0].title
    found = {row.keys["class"]: row.cells[0].stats["last"].text for row in table.sections[0].rows}
    assert found == {"road": "80.0 (1)", "car": "40.0 (1)", "sign": "absent", "mean Dice": "60.0 (1)"}
    with pytest.raises(BenchError, match=r"--metric kappa: it has no values per class; those have: miou, macc"):
        made(store, grid, "kappa", per_class=True)


def test_a_run_without_matrices_says_how_to_get_them(store: Store, grid: Summary) -> None:
    old = run_of(store, 0, kept=())
    table = made(store, grid, "macc")
    assert table.sections[0].rows[0].cells[0].stats["last"].text == "–"
    assert f"No mAcc under rule 'last' of {old.id}: it keeps no confusion matrices" in table.warnings[0]
    assert "`evaluate RUN --select last` writes them" in table.warnings[0]
    run_of(store, 1, kept=("last",))
    run_of(store, 0, "classmix")
    reco, classmix = (row.cells[0].stats for row in made(store, grid, "macc").sections[0].rows)
    assert (reco["last"].text, reco["best"].text) == ("62.5 (1/2)", "–")
    assert (classmix["best"].text, classmix["best"].bold) == ("62.5 (1)", False)
    assert not reco["last"].bold, "a mean over some of the runs is no rival"


def test_matrices_that_are_damaged_or_of_another_evaluation_give_no_number(store: Store, grid: Summary) -> None:
    damaged, other = run_of(store, 0), run_of(store, 1)
    confusion_path(damaged, "last").write_bytes(b"PK")
    write_confusion(other, "last", Confusion(("a",), 400, ImageCounts.of(np.array([np.eye(3, dtype=int)]))))
    table = made(store, grid, "macc")
    assert table.sections[0].rows[0].cells[0].stats["last"].n == 0
    assert table.sections[0].rows[0].cells[0].stats["best"].n == 2
    assert len(table.warnings) == 2
    assert "unreadable confusion matrices" in table.warnings[0]
    assert "is of another evaluation (mIoU 100.00" in table.warnings[1]


def test_pairs_are_compared_on_the_metric(store: Store, grid: Summary) -> None:
    for seed in range(2):
        run_of(store, seed, "reco")
        run_of(store, seed, "classmix")
    runs, _ = by_metric.scored(store.path, records.load(store.path, store.cells), "dice")
    table = pairs.build(runs, grid, "reco", "classmix")
    assert "difference of mean Dice" in table.sections[0].title
    assert "reco is 0.0 mean Dice above classmix" in table.notes[0]


def test_rows_of_runs_get_two_columns(store: Store) -> None:
    run_of(store, 0)
    run_of(store, 1, kept=("best",))
    store.plan("reco", "20", 2)
    found = frame_of(store)
    assert found["dice_last"].round(6).fillna(-1).tolist() == [60.0, -1, -1]
    assert found["dice_best"].round(6).fillna(-1).tolist() == [60.0, 60.0, -1]
