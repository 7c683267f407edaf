"""mIoU over the label budget: what is drawn against the numbers of the runs, and half-finished grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from bench.store.summary import Summary
from tests.bench.report.conftest import Store
from tests.bench.report.figures.drawing import fill, marks, panels, ratio, shown, ys


def means(axes: Axes) -> list[list[float]]:
    return [ys(bar.lines[0]) for bar in axes.containers if isinstance(bar, ErrorbarContainer)]


def test_ratio_draws_means_and_deviations(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    fill(store)
    ratio(store, grid, tmp_path)
    (axes,) = panels(drawn[0])
    assert means(axes) == [[41.0, 41.0], [51.0, 51.0]]
    for bar in axes.containers:
        assert isinstance(bar, ErrorbarContainer)
        ends = [segment[:, 1].tolist() for segment in bar.lines[2][0].get_segments()]
        # 40, 41, 42: sample standard deviation 1
        assert ends[0][1] - ends[0][0] == pytest.approx(2.0)
        assert np.asarray(bar.lines[0].get_xdata()) == pytest.approx([20, 367], rel=0.1)
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20", "full\n367"]
    assert axes.get_xlabel() == "label budget: labelled images (log scale)"
    assert axes.get_ylabel() == "mIoU (%)"
    assert marks(drawn[0]) == "mean ± sample standard deviation, 3 seeds; rule 'last'"


def test_ratio_follows_the_rule(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    fill(store)
    ratio(store, grid, tmp_path, "best")
    assert means(panels(drawn[0])[0]) == [[50.0, 50.0], [60.0, 60.0]]
    assert marks(drawn[0]).endswith("rule 'best'")


def test_plots_say_what_runs_differ_in(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    for seed, torch in enumerate(("2.3.1", "2.15.0")):
        run = store.plan("a", "20", seed)
        store.done(run, 50.0)
        (run / "attempts.jsonl").write_text(f'{{"packages": {{"torch": "{torch}"}}, "device": "cpu"}}\n')
    ratio(store, grid, tmp_path)
    assert marks(drawn[0]).endswith("\nruns differ in torch: see `table`")


def test_ratio_of_partial_labels_counts_pixels(
    store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]
) -> None:
    for labels, pixels in (("1px", 5_000), ("25%", 3_000_000)):
        run = store.plan("a", labels, 0, protocol="partial")
        store.done(run, 50.0, labelled_images=367, labelled_pixels=pixels)
    ratio(store, grid, tmp_path)
    (axes,) = panels(drawn[0])
    assert axes.get_xlabel() == "label budget: labelled pixels (log scale)"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1px\n5,000", "25%\n3 M"]


def test_ratio_marks_what_is_missing(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    store.plan("a", "20", 1)
    store.plan("a", "full", 0)
    store.plan("b", "20", 0)
    store.plan("a", "20", 0, dataset="voc")
    ratio(store, grid, tmp_path)
    first, second = panels(drawn[0])
    hollow = [line for line in first.lines if line.get_markerfacecolor() == "white"]
    assert [ys(line) for line in hollow] == [[50.0]]
    assert shown(first) == ["no run done: full"]
    assert shown(second) == ["no run is done yet"]
    assert "hollow: seeds missing" in marks(drawn[0])
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["a", "b (no run yet)"]


def test_budgets_of_the_same_size_share_a_tick(
    store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]
) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    store.done(store.plan("a", "20", 0, protocol="files"), 60.0)
    ratio(store, grid, tmp_path)
    assert [tick.get_text() for tick in panels(drawn[0])[0].get_xticklabels()] == ["20"]
    assert marks(drawn[0]) == "single runs; rule 'last'"
