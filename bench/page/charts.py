"""The charts of a page, before they are drawn: the numbers that tables and plots show, and the words for each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.report import notes
from bench.report.curves import Curve
from bench.report.figures import scores, style
from bench.report.figures.convergence import lines_of, spread_of
from bench.report.figures.ratio import BudgetAxis, budget_axis
from bench.report.figures.sweep import Places, number_of, places
from bench.report.model import Column, Row, Section, Table, TableCell
from bench.report.records import Runs, is_seed, varying
from bench.report.tables import pivot
from bench.store.summary import Summary

if TYPE_CHECKING:
    from bench.report.figures.style import LineStyle

SIDE_BY_SIDE = (
    0.012  # of the width of a chart: how far points of one budget stand apart, so that their bars can be told
)


@dataclass(frozen=True)
class Point:
    """A point of a line.

    Attributes:
        x, y: where it stands; `y` is NaN where the line is broken.
        text: what it says when it is pointed at.
        low, high: ends of its bar, or of the line's band here.
        hollow: it stands for fewer runs than were planned.
    """

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """A line.

    Attributes:
        name: in the legend; empty where there is one line and nothing to tell it from.
        marked: its points have marks; else it is a line alone.
        joined: its points are joined.
        band: `low` and `high` of its points are a band, not bars.
        shift: its place beside the others, in parts of the chart's width.
    """

    name: str
    look: LineStyle
    points: tuple[Point, ...]
    marked: bool = True
    joined: bool = True
    band: bool = False
    shift: float = 0.0

    @property
    def heights(self) -> list[float]:
        """All y that it shows, the ends of its bars or of its band included."""
        known = [point for point in self.points if not math.isnan(point.y)]
        return [y for point in known for y in (point.y, point.low, point.high) if y is not None]


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        x_ticks: values and their labels; without any, round numbers are taken.
        also: values of y that it shows whether its lines reach them or not.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...] = ()
    log_x: bool = False
    log_y: bool = False
    also: tuple[float, ...] = ()
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Panels with one legend, and what marks, bars and bands mean."""

    title: str
    about: str
    panels: tuple[Panel, ...]

    @property
    def legend(self) -> dict[str, Line]:
        """The lines that have a name and show something, each once."""
        return {line.name: line for panel in self.panels for line in panel.lines if line.name and line.heights}


def alike(panels: Iterable[Panel]) -> tuple[Panel, ...]:
    """Return panels with one range of y, so that they can be compared."""
    found = tuple(panels)
    heights = [y for panel in found for line in panel.lines for y in line.heights]
    return tuple(replace(panel, also=(min(heights), max(heights))) for panel in found) if heights else found


Looks = Mapping[str, "LineStyle"]


def looks(table: Table) -> dict[str, LineStyle]:
    """Return a style per row of a grid's table: that which `plot` draws it in."""
    return style.line_styles(dict.fromkeys(scores.row_name(row) for section in table.sections for row in section.rows))


def ratio(table: Table, styles: Looks, score: str) -> Chart:
    """Return the score over the label budget, of the table under its headline rule; `score` names it."""
    panels = tuple(_ratio_panel(section, styles, table.rule.name, score) for section in table.sections)
    return Chart("Score over the label budget", _about(table), alike(panels))


def _ratio_panel(section: Section, styles: Looks, rule: str, score: str) -> Panel:
    budgets = budget_axis(section)
    labels = [column.keys["labels"] for column in section.columns]
    ticks = {x: label for x, label in zip(budgets.positions, labels, strict=True) if x is not None}
    without = [label for x, label in zip(budgets.positions, labels, strict=True) if x is None]
    rows = section.rows if budgets.known else ()
    lines = tuple(
        Line(scores.row_name(row), styles[scores.row_name(row)], _over_budgets(row, section.columns, budgets, rule))
        for row in rows
    )
    return Panel(
        notes.name(section.keys),
        f"label budget: labelled {budgets.unit} (log scale)",
        f"{score} (%)",
        _apart(lines),
        tuple((x, _tick(ticks[x], x)) for x in sorted(ticks)),
        log_x=True,
        note=f"no run done: {', '.join(without)}" if without else "",
    )


def _tick(label: str, x: float) -> str:
    count = f"{x:,.0f}" if x < 1e6 else f"{x / 1e6:.3g} M"
    return label if label == count else f"{label}: {count}"


def _apart(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return lines whose points of one budget stand side by side."""
    middle = (len(lines) - 1) / 2
    return tuple(replace(line, shift=SIDE_BY_SIDE * (i - middle)) for i, line in enumerate(lines))


def _over_budgets(row: Row, columns: Sequence[Column], budgets: BudgetAxis, rule: str) -> tuple[Point, ...]:
    places = zip(budgets.positions, columns, row.cells, strict=True)
    known = sorted(((x, column, cell) for x, column, cell in places if x is not None), key=lambda place: place[0])
    return tuple(_point(x, cell, rule, column.title) for x, column, cell in known)


def _point(x: float, cell: TableCell, rule: str, where: str) -> Point:
    """Return a table's cell as a point."""
    stat = cell.stats[rule]
    if stat.mean is None:
        return Point(x, math.nan, "")
    text, hollow = f"{where}: {stat.text}", not cell.complete
    if stat.sd is None:
        return Point(x, stat.mean, text, hollow=hollow)
    return Point(x, stat.mean, text, stat.mean - stat.sd, stat.mean + stat.sd, hollow)


def convergence(table: Table, styles: Looks, curves: Mapping[str, Curve], score: str) -> Chart:
    """Return the score over iterations as `plot convergence` draws it: mean of the runs, band from least to greatest."""
    panels = []
    for section in table.sections:
        for at, column in enumerate(section.columns):
            lines = tuple(
                Line(line.name, styles[line.name], points, marked=len(points) == 1, band=len(line.runs) > 1)
                for line in lines_of(section, at, curves)
                for points in [_mean_of(line.runs)]
            )
            where = f"{notes.name(section.keys)}, {column.title}"
            panels.append(Panel(where, "iterations", f"{score} (%)", lines))
    about = "line: mean; band: least to greatest; where no run is done: unfinished runs"
    return Chart("Score over iterations", about, alike(panels))


def _mean_of(runs: Sequence[Curve]) -> tuple[Point, ...]:
    points = []
    for at in spread_of(runs):
        ends = f" ({at.low:.1f} to {at.high:.1f}, {len(runs)} runs)" if len(runs) > 1 else ""
        points.append(Point(at.step, at.mean, f"{at.step:,}: {at.mean:.1f}{ends}", at.low, at.high))
    return tuple(points)


def sweeps(runs: Runs, grid: Summary, rule: str) -> Iterator[Chart]:
    """Yield a chart as `plot sweep` draws it for each axis of numbers, but label budgets: the score over it by method."""
    own = ("method", "labels", "protocol")
    for axis in varying(runs.records, [axis for axis in runs.axes if axis not in own and not is_seed(axis)]):
        made = pivot(runs, grid, rule, ["method"], [axis])
        styles = looks(made)
        found = [(section, places(section, axis)) for section in made.sections]
        panels = tuple(_sweep_panel(*one, axis, rule, runs.named, styles) for one in found if _sweeps(one[1]))
        if panels:
            yield Chart(f"Score over {axis}", _about(made), alike(panels))


def _sweeps(where: Places) -> bool:
    """Tell whether two values of an axis are numbers; a text beside them, such as that of nothing, has its place, too."""
    return sum(number_of(label) is not None for label in where.labels) > 1


def _about(table: Table) -> str:
    counts = (len(cell.done) for section in table.sections for row in section.rows for cell in row.cells)
    return f"{scores.spread('mean ± standard deviation', counts)}; rule '{table.rule.name}'"


def _sweep_panel(section: Section, where: Places, axis: str, rule: str, score: str, styles: Looks) -> Panel:
    def line(row: Row) -> Line:
        known = zip(where.at, where.columns, where.labels, strict=True)
        points = tuple(_point(x, row.cells[column], rule, f"{axis} {label}") for x, column, label in known)
        return Line(scores.row_name(row), styles[scores.row_name(row)], points)

    lines = _apart([made for made in map(line, section.rows) if made.heights])
    ticks = tuple(zip(where.at, where.labels, strict=True))
    return Panel(notes.name(section.keys), where.axis(axis), f"{score} (%)", lines, ticks, log_x=where.log)


def losses(curves: Mapping[str, Curve], title: str, most: int) -> Panel:
    """Return what one run logged over its iterations, at most about `most` points of each quantity."""
    styles = style.line_styles(curves)
    lines = tuple(
        Line(name, styles[name], tuple(_thinned(curve, most)), marked=False) for name, curve in curves.items()
    )
    return Panel(title, "iterations", "", lines)


def _thinned(curve: Curve, most: int) -> Iterator[Point]:
    steps = list(curve)
    every = max(1, -(-len(steps) // most))
    kept = steps[::every]
    for step in kept if not steps or kept[-1] == steps[-1] else [*kept, steps[-1]]:
        yield Point(step, curve[step], f"{step:,}: {curve[step]:.4g}")


def breaks(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Yield the stretches of a line between its gaps."""
    found: list[Point] = []
    for point in points:
        if math.isnan(point.y):
            if found:
                yield found
            found = []
        else:
            found.append(point)
    if found:
        yield found
