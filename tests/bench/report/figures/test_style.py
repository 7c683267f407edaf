"""How plots look and are written: names as they are, the same bytes every time."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench.errors import BenchError
from bench.report import records
from bench.report.figures import scores, style
from bench.report.figures.sweep import sweep
from bench.store.summary import Summary
from tests.bench.report.conftest import Store
from tests.bench.report.figures.drawing import convergence, fill, ratio


def test_names_are_not_markup(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    for name in ("$x^$ {", "_hidden", "<b>&"):
        store.done(store.plan(name, "20", 0), 50.0)
    ratio(store, grid.model_copy(update={"title": r"$\frac{$"}), tmp_path)
    assert [text.get_text().strip() for text in drawn[0].legends[0].get_texts()] == ["$x^$ {", "_hidden", "<b>&"]


def test_legend_stays_within_the_figure(store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]) -> None:
    for i in range(9):
        store.done(store.plan(f"a method with a rather long label, number {i}", "20", 0), 50.0)
    ratio(store, grid, tmp_path)
    box = drawn[0].legends[0].get_window_extent()
    assert 0 <= box.x0 <= box.x1 <= drawn[0].bbox.width


def test_files_are_the_same_bytes_every_time(store: Store, grid: Summary, tmp_path: Path) -> None:
    fill(store)
    for draw in (ratio, convergence):
        first, second = (draw(store, grid, tmp_path / name) for name in ("one", "two"))
        assert [path.suffix for path in first] == [".png", ".svg", ".pdf"]
        for a, b in zip(first, second, strict=True):
            assert a.read_bytes() == b.read_bytes()
        assert Image.open(first[0]).info["dpi"][0] >= 150
        assert b"Type3" not in first[2].read_bytes()


def test_the_users_settings_stay_as_they_are(store: Store, grid: Summary, tmp_path: Path) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    with mpl.rc_context({"font.size": 23.0}):
        ratio(store, grid, tmp_path)
        assert mpl.rcParams["font.size"] == 23.0


def test_lines_differ_without_colour() -> None:
    looks = style.line_styles(f"method {i}" for i in range(40)).values()
    assert len({(look.marker, str(look.line)) for look in looks}) == 40


def test_a_grid_without_cells_is_an_error(store: Store, grid: Summary, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="grid 'quick' has no cells to plot"):
        ratio(store, grid, tmp_path)


@pytest.mark.parametrize("log", [False, True])
def test_lines_of_one_place_stand_side_by_side_and_none_in_anothers_place(log: bool) -> None:
    places, lines = (0.5, 0.7, 0.9), 6
    moved = scores.apart(places, lines, log)
    stands = [[moved(line, x) for line in range(lines)] for x in places]
    flat = [x for beside in stands for x in beside]
    assert flat == sorted(flat) and len(set(flat)) == len(flat)
    for x, beside in zip(places, stands, strict=True):
        middle = np.exp(np.log(beside).mean()) if log else np.mean(beside)
        assert middle == pytest.approx(x) and max(beside) - min(beside) < 0.2 * 0.5
    assert scores.apart([3.0], 1, log)(0, 3.0) == pytest.approx(3.0)


def test_a_figure_grows_with_a_legend_of_many_long_names(
    store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]
) -> None:
    for place in range(16):
        run = store.plan(
            "a method whose label goes on and on", "20", 0, **{f"an.axis.{i}": f"{place}" for i in range(4)}
        )
        store.done(run, 50.0 + place)
        store.evaluations(run, {200: 40.0 + place, 400: 50.0 + place})
    convergence(store, grid, tmp_path)
    (figure,) = drawn
    (legend,), (axes,) = figure.legends, figure.axes
    figure.canvas.draw()
    box, panel, whole = legend.get_window_extent(), axes.get_window_extent(), figure.bbox
    assert box.x0 >= 0 and box.x1 <= whole.x1 and box.y0 >= 0
    assert box.y1 < panel.y0 and panel.height > 2.0 * figure.dpi  # inches


def test_titles_of_panels_stay_within_their_panels(
    store: Store, grid: Summary, tmp_path: Path, drawn: list[Figure]
) -> None:
    for place in range(4):
        axes = {"a.key.of.a.recipe": "1", "another.key.of.a.recipe": f"{place}", "x": "1"}
        store.done(store.plan("a", "20", 0, **axes), 50.0)
        store.done(store.plan("a", "20", 0, **{**axes, "x": "2"}), 51.0)
    sweep(records.load(store.path, store.cells), grid, tmp_path, "x")
    (figure,) = drawn
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_visible()]
    assert len(boxes) == 4 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
