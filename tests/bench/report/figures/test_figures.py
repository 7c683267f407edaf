"""Plots: what is drawn against the numbers of the runs, the same bytes every time, and half-finished grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from bench.errors import BenchError
from bench.report import frame
from bench.report.figures import ratio as plots
from bench.report.figures import style
from tests.bench.report.conftest import Store

Grid = dict[str, Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were made, which are not written."""
    figures: list[Figure] = []

    def keep(figure: Figure, *_: object) -> list[Path]:
        figure.canvas.draw()
        figures.append(figure)
        return []

    monkeypatch.setattr(style, "save", keep)
    return figures


def ratio(store: Store, grid: Grid, out: Path, select: str | None = None) -> list[Path]:
    return plots.ratio(frame.load(store.path, store.cells), grid, out, select)


def convergence(store: Store, grid: Grid, out: Path) -> list[Path]:
    runs = frame.load(store.path, store.cells)
    return plots.convergence(runs, frame.curves(store.path, runs["id"]), grid, out)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def shown(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def ys(line: Line2D) -> list[float]:
    found: list[float] = np.asarray(line.get_ydata()).tolist()
    return found


def means(axes: Axes) -> list[list[float]]:
    return [ys(bar.lines[0]) for bar in axes.containers if isinstance(bar, ErrorbarContainer)]


def marks(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def fill(store: Store) -> None:
    for method, base in (("a", 40.0), ("b", 50.0)):
        for labels, images in (("20", 20), ("full", 367)):
            for seed in range(3):
                run = store.plan(method, labels, seed)
                store.done(run, base + seed, best=base + 10, labelled_images=images)
                store.evaluations(run, {100: base - 10 + seed, 200: base + seed})


def test_ratio_draws_means_and_deviations(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
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


def test_ratio_follows_the_rule(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    fill(store)
    ratio(store, grid, tmp_path, "best")
    assert means(panels(drawn[0])[0]) == [[50.0, 50.0], [60.0, 60.0]]
    assert marks(drawn[0]).endswith("rule 'best'")


def test_ratio_of_partial_labels_counts_pixels(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    for labels, pixels in (("1px", 5_000), ("25%", 3_000_000)):
        run = store.plan("a", labels, 0, protocol="partial")
        store.done(run, 50.0, labelled_images=367, labelled_pixels=pixels)
    ratio(store, grid, tmp_path)
    (axes,) = panels(drawn[0])
    assert axes.get_xlabel() == "label budget: labelled pixels (log scale)"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1px\n5,000", "25%\n3 M"]


def test_ratio_marks_what_is_missing(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
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


def test_convergence_draws_mean_and_band(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    fill(store)
    convergence(store, grid, tmp_path)
    first, second = panels(drawn[0])
    assert [axes.get_title() for axes in (first, second)] == [
        "camvid, resnet18, 20",
        "camvid, resnet18, full (367 images)",
    ]
    line = first.lines[0]
    assert (np.asarray(line.get_xdata()).tolist(), ys(line)) == ([100, 200], [31.0, 41.0])
    band = np.asarray(first.collections[0].get_paths()[0].vertices)[:, 1]
    assert (band.min(), band.max()) == (30.0, 42.0)
    assert (first.get_xlabel(), first.get_ylabel()) == ("iterations", "mIoU (%)")
    assert marks(drawn[0]) == "line: mean, band: least to greatest, 3 seeds"


def test_convergence_of_unfinished_runs(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    for seed, steps in enumerate([{100: 10.0, 200: 20.0}, {100: 12.0}]):
        run = store.plan("a", "20", seed)
        store.state(run, "preempted", step=max(steps))
        store.evaluations(run, steps)
    done, behind = store.plan("b", "20", 0), store.plan("b", "20", 1)
    store.done(done, 50.0)
    store.evaluations(done, {100: 30.0, 200: 50.0})
    store.evaluations(behind, {100: 0.0})
    store.plan("a", "full", 0)
    convergence(store, grid, tmp_path)
    first, second = panels(drawn[0])
    # a: no run is done, so both, at the step that both have reached; b: the run that is done alone
    assert [ys(line) for line in first.lines] == [[11.0], [30.0, 50.0]]
    assert shown(second) == ["no run has been evaluated yet"]
    assert marks(drawn[0]).endswith("1 to 2 seeds; where no run is done: unfinished runs")


def test_convergence_of_runs_without_a_common_step(
    store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]
) -> None:
    for seed in range(2):
        run = store.plan("a", "20", seed)
        store.done(run, 50.0)
        store.evaluations(run, {100 + seed: 50.0})
    convergence(store, grid, tmp_path)
    assert ys(panels(drawn[0])[0].lines[0]) == []


def test_budgets_of_the_same_size_share_a_tick(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    store.done(store.plan("a", "20", 0, protocol="files"), 60.0)
    ratio(store, grid, tmp_path)
    assert [tick.get_text() for tick in panels(drawn[0])[0].get_xticklabels()] == ["20"]
    assert marks(drawn[0]) == "single runs; rule 'last'"


def test_names_are_not_markup(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    for name in ("$x^$ {", "_hidden", "<b>&"):
        store.done(store.plan(name, "20", 0), 50.0)
    ratio(store, {**grid, "title": r"$\frac{$"}, tmp_path)
    assert [text.get_text().strip() for text in drawn[0].legends[0].get_texts()] == ["$x^$ {", "_hidden", "<b>&"]


def test_legend_stays_within_the_figure(store: Store, grid: Grid, tmp_path: Path, drawn: list[Figure]) -> None:
    for i in range(9):
        store.done(store.plan(f"a method with a rather long label, number {i}", "20", 0), 50.0)
    ratio(store, grid, tmp_path)
    box = drawn[0].legends[0].get_window_extent()
    assert 0 <= box.x0 <= box.x1 <= drawn[0].bbox.width


def test_files_are_the_same_bytes_every_time(store: Store, grid: Grid, tmp_path: Path) -> None:
    fill(store)
    for draw in (ratio, convergence):
        first, second = (draw(store, grid, tmp_path / name) for name in ("one", "two"))
        assert [path.suffix for path in first] == [".png", ".svg", ".pdf"]
        for a, b in zip(first, second, strict=True):
            assert a.read_bytes() == b.read_bytes()
        assert Image.open(first[0]).info["dpi"][0] >= 150
        assert b"Type3" not in first[2].read_bytes()


def test_the_users_settings_stay_as_they_are(store: Store, grid: Grid, tmp_path: Path) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    with mpl.rc_context({"font.size": 23.0}):
        ratio(store, grid, tmp_path)
        assert mpl.rcParams["font.size"] == 23.0


def test_series_differ_without_colour() -> None:
    looks = style.series(f"method {i}" for i in range(40)).values()
    assert len({(look.marker, str(look.line)) for look in looks}) == 40


def test_a_grid_without_cells_is_an_error(store: Store, grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="grid 'quick' has no cells to plot"):
        ratio(store, grid, tmp_path)
