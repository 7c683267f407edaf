"""Plots of a grid: mIoU over the label budget, and mIoU over iterations. Both work on a half-finished grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from bench.errors import BenchError
from bench.report import notes
from bench.report.figures import style
from bench.report.model import Cell, Row, Section, Table
from bench.report.tables import build

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = dict[int, float]  # iterations -> mIoU in %


def _label(row: Row) -> str:
    return ", ".join(value if axis == "method" else f"{axis} {value}" for axis, value in row.keys.items())


def _sections(
    frame: pd.DataFrame, grid: Mapping[str, Any], select: str | None
) -> tuple[Table, dict[str, style.Series]]:
    table = build(frame, grid, select)
    if not table.sections:
        raise BenchError(f"grid '{table.name}' has no cells to plot; check --only")
    return table, style.series(dict.fromkeys(_label(row) for section in table.sections for row in section.rows))


def _legend(styles: Mapping[str, style.Series], with_data: Iterable[str]) -> list[Line2D]:
    known = set(with_data)
    return [style.legend_line(name if name in known else f"{name} (no run yet)", look) for name, look in styles.items()]


def _spread(meaning: str, counts: Iterable[int]) -> str:
    """Return what the marks mean and over how many seeds, for the numbers of seeds behind each of them."""
    known = sorted({count for count in counts if count})
    if known in ([], [1]):
        return "single runs" if known else "no run yet"
    return f"{meaning}, {known[0]} seeds" if len(known) == 1 else f"{meaning}, {known[0]} to {known[-1]} seeds"


@dataclass(frozen=True)
class _Budgets:
    """The x axis of a panel: one position per column of the table, None where no run has told it yet."""

    positions: list[float | None]
    unit: str

    @property
    def known(self) -> list[float]:
        return [x for x in self.positions if x is not None]


def _budgets(section: Section) -> _Budgets:
    """Return labelled images, or labelled pixels where budgets differ in these alone (partial labels)."""
    images = _Budgets([column.images or None for column in section.columns], "images")
    pixels = _Budgets([column.pixels or None for column in section.columns], "pixels")
    return pixels if len(set(pixels.known)) > len(set(images.known)) else images


def _count(x: float) -> str:
    return f"{x:,.0f}" if x < 1e6 else f"{x / 1e6:.3g} M"


def _ticks(axes: Axes, section: Section, budgets: _Budgets) -> None:
    known = budgets.known
    at = zip(budgets.positions, section.columns, strict=True)
    ticks = sorted({(x, column.keys["labels"]) for x, column in at if x is not None})
    room = max(1.4, (max(known) / min(known)) ** 0.12)
    axes.set_xscale("log")
    axes.set_xlim(min(known) / room, max(known) * room)
    width = math.log(max(known) / min(known) * room**2)
    gaps = [abs(math.log(b / a)) / width for (a, _), (b, _) in pairwise(ticks)]
    names = [(label, _count(x)) for x, label in ticks]
    narrow = min(gaps, default=1.0) < 0.13
    glue = ": " if narrow else "\n"
    labels = [count if name == count else f"{name}{glue}{count}" for name, count in names]
    axes.set_xticks([x for x, _ in ticks], labels, rotation=90 if narrow else 0)
    axes.xaxis.set_minor_locator(NullLocator())


def _ratio_lines(
    axes: Axes, section: Section, budgets: _Budgets, styles: Mapping[str, style.Series], which: str
) -> None:
    known = budgets.known
    # Points of the same budget stand side by side, so that their error bars can be told apart.
    gap = min((math.log(b / a) for a, b in pairwise(sorted(known))), default=1.0)
    step = min(0.018 * max(math.log(max(known) / min(known)), gap), 0.5 * gap / len(section.rows))
    for i, row in enumerate(section.rows):
        look = styles[_label(row)]
        shift = math.exp(step * (i - (len(section.rows) - 1) / 2))
        points = [(x * shift, c) for x, c in zip(budgets.positions, row.cells, strict=True) if x is not None]
        points.sort(key=lambda point: point[0])
        xs = [x for x, _ in points]
        stats = [cell.stats[which] for _, cell in points]
        means = [math.nan if s.mean is None else s.mean for s in stats]
        deviations = [math.nan if s.sd is None else s.sd for s in stats]
        axes.errorbar(xs, means, deviations, color=look.colour, linestyle=look.line, elinewidth=1.0)
        for x, mean, (_, cell) in zip(xs, means, points, strict=True):
            if not cell.done:
                continue
            fill = look.colour if cell.complete else "white"
            axes.plot([x], [mean], marker=look.marker, color=look.colour, mfc=fill, linestyle="")


def _ratio_panel(axes: Axes, section: Section, styles: Mapping[str, style.Series], which: str) -> None:
    axes.set_title(notes.name(section.keys))
    budgets = _budgets(section)
    axes.set_xlabel(f"label budget: labelled {budgets.unit} (log scale)")
    if not budgets.known:
        axes.set_xticks([])
        style.empty(axes, "no run is done yet")
        return
    _ratio_lines(axes, section, budgets, styles, which)
    _ticks(axes, section, budgets)
    pending = [c.keys["labels"] for x, c in zip(budgets.positions, section.columns, strict=True) if x is None]
    if pending:
        axes.text(0.98, 0.03, f"no run done: {', '.join(pending)}", transform=axes.transAxes, ha="right", fontsize=8)


def ratio(frame: pd.DataFrame, grid: Mapping[str, Any], out_dir: Path, select: str | None = None) -> list[Path]:
    """Draw mIoU over the label budget, mean ± sample sd over seeds, one panel per dataset and network.

    It shows the numbers of :func:`bench.report.tables.build`. Error bars are missing where there is one seed; a hollow
    marker is a cell with seeds missing; a line is broken where a budget has no run.

    Returns:
        The files written: `ratio.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if there are no cells, or there is no such selection rule.
    """
    table, styles = _sections(frame, grid, select)
    rows = [row for section in table.sections for row in section.rows]
    cells = [cell for row in rows for cell in row.cells]
    marks = _spread("mean ± sample standard deviation", (len(cell.done) for cell in cells))
    marks += f"; rule '{table.rule.name}'"
    if any(cell.done and cell.others for cell in cells):
        marks += "; hollow: seeds missing"
    with style.styled():
        figure, panels = style.panels(len(table.sections), "mIoU (%)")
        for section, axes in zip(table.sections, panels, strict=True):
            _ratio_panel(axes, section, styles, table.rule.name)
        legend = _legend(styles, (_label(row) for row in rows if any(cell.done for cell in row.cells)))
        style.finish(figure, table.title, marks, legend)
        return style.save(figure, out_dir, "ratio")


def _shared(runs: Sequence[Curve]) -> list[int]:
    """Return the steps that every run has reached, sorted."""
    return sorted(set.intersection(*(set(run) for run in runs))) if runs else []


def _convergence_line(axes: Axes, runs: Sequence[Curve], look: style.Series, place: int) -> None:
    steps = _shared(runs)
    values = [[run[step] for run in runs] for step in steps]
    every = max(1, len(steps) // 6)
    axes.plot(
        steps,
        [math.fsum(v) / len(v) for v in values],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=(place % every, every),
    )
    if len(runs) > 1:
        axes.fill_between(
            steps, [min(v) for v in values], [max(v) for v in values], color=look.colour, alpha=0.15, lw=0
        )


def _chosen(cell: Cell, curves: Mapping[str, Curve]) -> list[Curve]:
    """Return the curves of the runs that are done, or, where none is, of those that have been evaluated."""
    return [curves[run.id] for run in cell.done or cell.others if run.id in curves]


@dataclass(frozen=True)
class _Line:
    """One line of a convergence plot: its name, the curves behind it, and whether their runs are done."""

    name: str
    runs: list[Curve]
    done: bool


def _lines(section: Section, at: int, curves: Mapping[str, Curve]) -> list[_Line]:
    found = [_Line(_label(row), _chosen(row.cells[at], curves), bool(row.cells[at].done)) for row in section.rows]
    return [line for line in found if line.runs]


def _convergence_panel(axes: Axes, title: str, lines: Sequence[_Line], styles: Mapping[str, style.Series]) -> None:
    axes.set_title(title)
    axes.set_xlabel("iterations")
    for line in lines:
        _convergence_line(axes, line.runs, styles[line.name], list(styles).index(line.name))
    if not lines:
        style.empty(axes, "no run has been evaluated yet")


def convergence(frame: pd.DataFrame, curves: pd.DataFrame, grid: Mapping[str, Any], out_dir: Path) -> list[Path]:
    """Draw mIoU over iterations: mean of the seeds and the band from their least to their greatest, a panel per budget.

    A line is the mean of the runs that are done, at the steps that all of them were evaluated at; where none is done,
    that of the unfinished runs.

    Args:
        frame: the runs, from :func:`bench.report.frame.load`.
        curves: their evaluations, from :func:`bench.report.frame.curves`.
        grid: the grid's `name`, `title` and `select`.
        out_dir: where to write.

    Returns:
        The files written: `convergence.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if there are no cells.
    """
    table, styles = _sections(frame, grid, None)
    by_run = {str(name): dict(zip(c["step"], c["miou"], strict=True)) for name, c in curves.groupby("id", sort=False)}
    places = {
        f"{notes.name(section.keys)}, {column.title}": _lines(section, at, by_run)
        for section in table.sections
        for at, column in enumerate(section.columns)
    }
    drawn = [line for lines in places.values() for line in lines]
    marks = _spread("line: mean, band: least to greatest", (len(line.runs) for line in drawn))
    if not all(line.done for line in drawn):
        marks += "; where no run is done: unfinished runs"
    with style.styled():
        figure, panels = style.panels(len(places), "mIoU (%)", share_x=True)
        for (title, lines), axes in zip(places.items(), panels, strict=True):
            _convergence_panel(axes, title, lines, styles)
        style.finish(figure, table.title, marks, _legend(styles, (line.name for line in drawn)))
        return style.save(figure, out_dir, "convergence")
