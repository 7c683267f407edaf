"""Any axis as row or column, one rule or all, and what is never bold."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.report import model, records, tables
from bench.report.figures.sweep import places, sweep
from bench.report.formats.render import render
from bench.store.summary import Summary
from tests.bench.report.conftest import Store


@pytest.fixture
def filled(store: Store) -> records.Runs:
    """Two methods at three thresholds with two seeds each: the threshold's tens, plus method, plus seed."""
    for at, method in enumerate(("supervised", "classmix")):
        for threshold in ("0.5", "0.7", "0.9"):
            for seed in (0, 1):
                cell = store.plan(method, "20", seed, **{"method.threshold": threshold})
                store.done(cell, 100 * float(threshold) - 40 + at + seed)
    return records.load(store.path, store.cells)


def shown(table: model.Table, rule: str = "last") -> list[list[str]]:
    return [[cell.stats[rule].text for cell in row.cells] for row in table.sections[0].rows]


def test_axes_as_rows_and_columns(filled: records.Runs, grid: Summary) -> None:
    table = tables.pivot(filled, grid, None, ["threshold"], ["method"])
    assert [row.keys for row in table.sections[0].rows] == [{"method.threshold": v} for v in ("0.5", "0.7", "0.9")]
    # 10 and 11: mean 10.5, squared deviations 0.25 + 0.25 over 1, root 0.707
    assert shown(table)[0] == ["10.5 ± 0.7 (2)", "11.5 ± 0.7 (2)"]
    assert shown(table)[2] == ["50.5 ± 0.7 (2)", "51.5 ± 0.7 (2)"]
    assert [cell.stats["last"].bold for cell in table.sections[0].rows[2].cells] == [True, True]


def test_seeds_as_columns_are_single_runs_and_other_axes_sections(filled: records.Runs, grid: Summary) -> None:
    table = tables.pivot(filled, grid, None, ["method.threshold"], ["seed"])
    assert [section.keys["method"] for section in table.sections] == ["supervised", "classmix"]
    assert shown(table) == [["10.0 (1)", "11.0 (1)"], ["30.0 (1)", "31.0 (1)"], ["50.0 (1)", "51.0 (1)"]]


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [(["thresold"], [], "unknown axis of --rows 'thresold'"), (["seed"], ["seed"], "seed is named for both")],
)
def test_axes_that_can_not_be(
    filled: records.Runs, grid: Summary, rows: list[str], columns: list[str], said: str
) -> None:
    with pytest.raises(BenchError, match=said):
        tables.pivot(filled, grid, None, rows, columns)


def test_the_headline_alone(filled: records.Runs, grid: Summary) -> None:
    from dataclasses import replace

    table = tables.build(filled, grid)
    for fmt in ("md", "latex", "terminal"):
        assert "not the headline" in render(table, fmt)
        assert "not the headline" not in render(replace(table, headline_only=True), fmt)


def test_a_zero_is_never_bold(store: Store, grid: Summary) -> None:
    for method in ("supervised", "classmix"):
        store.done(store.plan(method, "20", 0), 0.04)
    table = tables.build(records.load(store.path, store.cells), grid)
    assert shown(table) == [["0.0 (1)"], ["0.0 (1)"]]
    assert not any(cell.stats["last"].bold for row in table.sections[0].rows for cell in row.cells)


def test_a_sweep_is_drawn(filled: records.Runs, grid: Summary, tmp_path: Path) -> None:
    files = sweep(filled, grid, tmp_path, "threshold")
    assert [file.name for file in files] == [f"{grid.name}-sweep-threshold.{end}" for end in ("png", "svg", "pdf")]
    svg = files[1].read_text()
    assert all(
        f"<!-- {value} -->" in svg for value in ("0.5", "0.7", "0.9", "method.threshold", "supervised", "classmix")
    )


@pytest.mark.parametrize(
    ("values", "at", "log"),
    [
        (["0.9", "0.5", "0.7"], [0.5, 0.7, 0.9], False),
        (["0.1", "0.001", "0.01"], [0.001, 0.01, 0.1], True),
        (["0.0", "0.01", "0.0001"], [0.0, 1.0, 2.0], False),  # no scale can show both zero and these
        (["0.0", "0.5", "1.0"], [0.0, 0.5, 1.0], False),
        (["None", "1.0", "50.0"], [0.0, 1.0, 2.0], False),
        (["cutmix", "classmix"], [0.0, 1.0], False),
    ],
)
def test_values_stand_where_they_can_be_told_apart(values: list[str], at: list[float], log: bool) -> None:
    columns = tuple(model.Column({"x": value}, value) for value in values)
    found = places(model.Section("", {}, ("method",), columns, ()), "x")
    assert (list(found.at), found.log) == (at, log)
    assert [values[column] for column in found.columns] == list(found.labels)
    if values[0] not in ("None", "cutmix"):
        assert list(found.labels) == sorted(values, key=float)


def test_an_axis_that_a_sweep_lacks_is_called_as_it_was_asked_for(
    filled: records.Runs, grid: Summary, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match="unknown axis of --x 'lr'"):
        sweep(filled, grid, tmp_path, "lr")
    with pytest.raises(BenchError, match="--x method: a line is drawn for each method"):
        sweep(filled, grid, tmp_path, "method")
