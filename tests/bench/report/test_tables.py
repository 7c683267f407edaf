"""Tables: the numbers against hand-worked ones and the standard library's, on finished and half-finished grids."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.report import model, notes, records, tables
from bench.report.model import Table, TableCell
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

Grid = Summary


def build(store: Store, grid: Grid, select: str | None = None) -> Table:
    return tables.build(records.load(store.path, store.cells), grid, select)


def texts(table: Table, rule: str = "last") -> list[list[str]]:
    return [[cell.stats[rule].text for cell in row.cells] for row in table.sections[0].rows]


def test_mean_and_sample_deviation_by_hand(store: Store, grid: Grid) -> None:
    # 23.7, 24.1, 22.9: mean 70.7 / 3; squared deviations 0.0178 + 0.2844 + 0.4444 = 0.7467; / 2, root: 0.6110
    for seed, miou in enumerate([23.7, 24.1, 22.9]):
        store.done(store.plan("supervised", "20", seed), miou, best=miou + 1)
    table = build(store, grid)
    cell = table.sections[0].rows[0].cells[0]
    assert cell.stats["last"].mean == pytest.approx(23.566667, abs=1e-6)
    assert cell.stats["last"].sd == pytest.approx(0.611010, abs=1e-6)
    assert cell.stats["last"].text == "23.6 ± 0.6 (3)"
    assert cell.stats["best"].text == "24.6 ± 0.6 (3)"
    assert (table.done, table.planned) == (3, 3)


def _run(value: float, seed: int = 0) -> model.RunScore:
    return model.RunScore(f"r{seed}", seed, "done", "", 1.0, 1.0, "e", "s", {"last": value, "best": value})


@given(st.lists(st.floats(0, 100), min_size=2, max_size=20))
def test_statistics_are_those_of_the_standard_library(values: list[float]) -> None:
    stat = model.cell([_run(value) for value in values]).stats["last"]
    assert stat.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert stat.sd == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_one_run_has_no_deviation(store: Store, grid: Grid) -> None:
    store.done(store.plan("supervised", "20", 0), 53.14)
    table = build(store, grid)
    assert texts(table) == [["53.1 (1)"]]
    assert table.sections[0].rows[0].cells[0].stats["last"].sd is None


def test_rows_and_columns_keep_the_grids_order(store: Store, grid: Grid) -> None:
    for method in ("z", "a"):
        for labels in ("full", "20", "1/4"):
            store.plan(method, labels, 0)
    section = build(store, grid).sections[0]
    assert [row.keys["method"] for row in section.rows] == ["z", "a"]
    assert [column.title for column in section.columns] == ["full", "20", "1/4"]


def test_columns_say_how_many_images_and_which_protocol(store: Store, grid: Grid) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    store.done(store.plan("a", "1/4", 0, protocol="ratio"), 50.0, labelled_images=92)
    store.plan("a", "full", 0, protocol="full")
    titles = [column.title for column in build(store, grid).sections[0].columns]
    assert titles == ["few_labels 20", "ratio 1/4 (92 images)", "full"]


def test_the_same_budget_under_two_protocols_makes_two_columns(store: Store, grid: Grid) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    store.done(store.plan("a", "20", 0, protocol="files"), 60.0)
    assert texts(build(store, grid)) == [["50.0 (1)", "60.0 (1)"]]


def test_a_section_per_dataset_and_network(store: Store, grid: Grid) -> None:
    for dataset, network in (("camvid", "resnet18"), ("camvid", "tiny"), ("voc", "tiny")):
        store.plan("a", "20", 0, dataset=dataset, network=network)
    titles = [section.title.partition(":")[0] for section in build(store, grid).sections]
    assert titles == ["camvid, resnet18", "camvid, tiny", "voc, tiny"]


def test_other_axes_that_vary_are_part_of_the_row(store: Store, grid: Grid) -> None:
    for rate in ("0.1", "0.01"):
        store.done(store.plan("a", "20", 0, **{"schedule.lr": rate, "precision": "bf16"}), 100 * float(rate))
    section = build(store, grid).sections[0]
    assert section.row_axes == ("method", "schedule.lr")
    assert [row.keys for row in section.rows] == [{"method": "a", "schedule.lr": r} for r in ("0.1", "0.01")]


def test_an_axis_fixed_within_a_section_is_part_of_its_title(store: Store, grid: Grid) -> None:
    store.plan("a", "20", 0, dataset="camvid", **{"schedule.lr": "0.1"})
    store.plan("a", "20", 0, dataset="voc", **{"schedule.lr": "0.01"})
    first, second = build(store, grid).sections
    assert first.title.startswith("camvid, resnet18, schedule.lr 0.1:")
    assert second.row_axes == ("method",)


def test_cells_without_any_run_done_tell_their_states(store: Store, grid: Grid) -> None:
    for seed, state in enumerate(["failed", "failed", "preempted"]):
        store.state(store.plan("a", "20", seed), state)
    for seed in range(2):
        store.plan("a", "full", seed)
    store.plan("b", "20", 0)
    assert texts(build(store, grid)) == [["– 2 failed, preempted", "– 2 pending"], ["– pending", ""]]
    assert "Empty: not in the grid." in build(store, grid).notes


def test_running_cells_tell_how_far_they_are() -> None:
    def running(step: float, seed: int) -> model.RunScore:
        return model.RunScore("r", seed, "running", "", step, 400, "", "", {"last": None, "best": None})

    assert model.cell([running(160, 0)]).stats["last"].text == "– running 40 %"
    assert model.cell([running(160, 0), running(80, 1)]).stats["last"].text == "– 2 running 30 %"


def test_missing_runs_are_counted_and_listed(store: Store, grid: Grid) -> None:
    store.done(store.plan("a", "20", 0), 53.0)
    store.done(store.plan("a", "20", 1), 54.0)
    store.state(store.plan("a", "20", 2), "failed", step=120, reason="ValueError: bad")
    store.plan("a", "full", 0)
    table = build(store, grid)
    assert texts(table) == [["53.5 ± 0.7 (2/3)", "– pending"]]
    assert notes.missing(table) == ["a, labels 20, seed 2: failed at step 120: ValueError: bad"]
    assert [run.id for run in table.unfinished] == ["run0002", "run0003"]
    assert "Runs: 2 of 4 done; 1 failed, 1 pending." in table.notes


def test_a_long_list_of_missing_runs_is_cut_short(store: Store, grid: Grid) -> None:
    for seed in range(30):
        store.state(store.plan("a", "20", seed), "diverged")
    lines = notes.missing(build(store, grid))
    assert len(lines) == notes.MAX_LINES + 1
    assert lines[-1] == "and 10 more: `--format json` has them all"


def test_the_headline_rule_is_said_and_so_is_an_override(store: Store, grid: Grid) -> None:
    store.done(store.plan("a", "20", 0), 50.0, best=52.0)
    assert build(store, grid).notes[0].startswith("Score: rule 'last', fixed by the grid: ")
    overridden = build(store, grid, "best")
    assert overridden.notes[0].startswith("Score: rule 'best', by --select, overrides the grid's 'last': ")
    assert (overridden.rule.name, overridden.rule.other) == ("best", "last")
    assert build(store, grid, "last").notes[0].startswith("Score: rule 'last', fixed by the grid")


def test_an_unknown_rule_is_an_error(store: Store, grid: Grid) -> None:
    with pytest.raises(BenchError, match=r"unknown selection rule 'lats' \(did you mean 'last'\?\)"):
        build(store, grid, "lats")


def test_evaluation_protocols_are_named(store: Store, grid: Grid) -> None:
    assert build(store, grid).sections == ()
    store.plan("a", "20", 0)
    assert "Evaluation: no run is done yet." in build(store, grid).notes
    store.done(store.plan("a", "20", 1), 50.0)
    assert "Evaluation: whole image, 180x240, val." in build(store, grid).notes


def test_methods_on_different_splits_are_warned_of(store: Store, grid: Grid) -> None:
    for method, split in (("a", "11" * 32), ("b", "22" * 32), ("c", "11" * 32)):
        store.done(store.plan(method, "20", 0), 50.0, split_sha256=split)
        store.done(store.plan(method, "20", 1), 50.0, split_sha256="33" * 32)
    (warning,) = build(store, grid).warnings
    assert warning == (
        "Splits differ at camvid, resnet18, few_labels, labels 20, seed 0; don't compare these runs "
        "(seed 0: 11111111: a, c; 22222222: b)."
    )


def test_methods_evaluated_differently_are_warned_of(store: Store, grid: Grid) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    store.done(store.plan("b", "20", 0), 50.0, evaluation="padded, 96x96, val")
    (warning,) = build(store, grid).warnings
    assert warning.startswith("Evaluation protocols differ at camvid, resnet18, few_labels, labels 20; don't compare")
    assert "whole image, 180x240, val: a; padded, 96x96, val: b" in warning


def test_seeds_may_have_their_own_splits(store: Store, grid: Grid) -> None:
    for method in ("a", "b"):
        for seed in range(2):
            store.done(store.plan(method, "20", seed), 50.0, split_sha256=f"{seed}" * 64)
    assert build(store, grid).warnings == ()


def test_runs_that_no_axis_tells_apart_are_warned_of(store: Store, grid: Grid) -> None:
    store.plan("a", "20", 0)
    store.plan("a", "20", 0)
    (warning,) = build(store, grid).warnings
    assert warning.startswith("2 planned runs have the same coordinates (camvid, resnet18, few_labels, labels 20, a")


def bold(cells: list[TableCell]) -> list[bool]:
    return model.best(cells, "last")


def test_the_best_complete_cell_is_bold_and_ties_all_are() -> None:
    pending = model.RunScore("p", 1, "pending", "", 0, 0, "", "", {"last": None, "best": None})
    high_but_missing = model.cell([_run(60.0), pending])
    assert bold([model.cell([_run(50.0)]), model.cell([_run(51.0)]), high_but_missing]) == [False, True, False]
    assert bold([model.cell([_run(50.04)]), model.cell([_run(49.96)])]) == [True, True]
    assert bold([model.cell([_run(50.0)]), high_but_missing]) == [False, False]
    assert bold([model.cell([]), model.cell([pending])]) == [False, False]


def test_bold_is_by_column_and_by_rule(store: Store, grid: Grid) -> None:
    for method, values in (("a", (50.0, 60.0)), ("b", (51.0, 59.0))):
        for labels, miou in zip(("20", "full"), values, strict=True):
            store.done(store.plan(method, labels, 0), miou, best=100 - miou)
    rows = build(store, grid).sections[0].rows
    assert [[cell.stats["last"].bold for cell in row.cells] for row in rows] == [[False, True], [True, False]]
    assert [[cell.stats["best"].bold for cell in row.cells] for row in rows] == [[True, False], [False, True]]


def test_classes_with_absent_ones_left_out(store: Store, grid: Grid) -> None:
    for seed, iou in enumerate([(60.0, 10.0, None), (62.0, None, None), (64.0, 30.0, None)]):
        store.done(store.plan("a", "20", seed), 50.0 + seed, iou=iou)
    store.state(store.plan("b", "20", 0), "failed")
    table = tables.per_class(records.load(store.path, store.cells), grid)
    (section,) = table.sections
    assert [row.keys["class"] for row in section.rows] == ["road", "car", "sign", "mIoU"]
    assert [column.title for column in section.columns] == ["a", "b"]
    # car: 10 and 30, mean 20, sd sqrt(2 * 100 / 1) = 14.14
    assert [[cell.stats["last"].text for cell in row.cells] for row in section.rows] == [
        ["62.0 ± 2.0 (3)", "– failed"],
        ["20.0 ± 14.1 (2/3)", "– failed"],
        ["absent", "– failed"],
        ["51.0 ± 1.0 (3)", "– failed"],
    ]
    assert section.rows[1].cells[0].stats["last"].values == (10.0, None, 30.0)


def test_classes_before_any_run_is_done(store: Store, grid: Grid) -> None:
    store.plan("a", "20", 0)
    (section,) = tables.per_class(records.load(store.path, store.cells), grid).sections
    assert [row.keys["class"] for row in section.rows] == ["mIoU"]
    assert section.rows[0].cells[0].stats["last"].text == "– pending"


def test_classes_have_a_section_per_budget_and_bold_by_row(store: Store, grid: Grid) -> None:
    for labels in ("20", "full"):
        store.done(store.plan("a", labels, 0), 50.0, iou=(60.0, 10.0, 0.0))
        store.done(store.plan("b", labels, 0), 51.0, iou=(50.0, 20.0, 0.0))
    table = tables.per_class(records.load(store.path, store.cells), grid)
    assert len(table.sections) == 2
    bold_cells = [[cell.stats["last"].bold for cell in row.cells] for row in table.sections[0].rows]
    assert bold_cells == [[True, False], [False, True], [False, False], [False, True]]  # a zero is never bold
