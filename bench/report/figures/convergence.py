"""The plots of mIoU, losses and other logged quantities over iterations. They work on a half-finished grid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError
from bench.report import notes
from bench.report.curves import Curve
from bench.report.figures import scores, style
from bench.report.model import Section, TableCell
from bench.report.records import Runs
from bench.store.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Spread(NamedTuple):
    """Mean, least and greatest of several runs' curves at one step."""

    step: int
    mean: float
    low: float
    high: float


def spread_of(runs: Sequence[Curve]) -> list[Spread]:
    """Return mean, least and greatest at each step that every run has reached."""
    steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    values = [[run[step] for run in runs] for step in steps]
    return [Spread(step, math.fsum(v) / len(v), min(v), max(v)) for step, v in zip(steps, values, strict=True)]


def _convergence_line(axes: Axes, runs: Sequence[Curve], look: style.LineStyle, place: int) -> None:
    found = spread_of(runs)
    steps = [at.step for at in found]
    every = max(1, len(steps) // 6)
    axes.plot(
        steps,
        [at.mean for at in found],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=(place % every, every),
    )
    if len(runs) > 1:
        low, high = [at.low for at in found], [at.high for at in found]
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.15, lw=0)


def _chosen(cell: TableCell, curves: Mapping[str, Curve]) -> list[Curve]:
    """Return the curves of the runs that are done, or, where none is, of those that have been evaluated."""
    return [curves[run.id] for run in cell.done or cell.others if run.id in curves]


@dataclass(frozen=True)
class Line:
    """One line of a convergence plot: its name, the curves behind it, and whether their runs are done."""

    name: str
    runs: list[Curve]
    done: bool


def lines_of(section: Section, at: int, curves: Mapping[str, Curve]) -> list[Line]:
    """Return the lines of a section's column: of each row, those of its runs that have curves."""
    found = [
        Line(scores.row_name(row), _chosen(row.cells[at], curves), bool(row.cells[at].done)) for row in section.rows
    ]
    return [line for line in found if line.runs]


def _convergence_panel(
    axes: Axes, title: str, lines: Sequence[Line], styles: Mapping[str, style.LineStyle], without: str
) -> None:
    style.title(axes, title)
    axes.set_xlabel("iterations")
    for line in lines:
        _convergence_line(axes, line.runs, styles[line.name], list(styles).index(line.name))
    if not lines:
        style.empty(axes, without)


def convergence(
    runs: Runs, curves: Mapping[str, Curve], grid: Summary, out_dir: Path, quantity: str | None = None
) -> list[Path]:
    """Draw mIoU, or a logged quantity, over iterations, a panel per budget: the seeds' mean, and the band of them all.

    A line is the mean of the runs that are done, at the steps that all of them were evaluated at; where none is done,
    that of the unfinished runs.

    Args:
        runs: from :func:`bench.report.records.load`.
        curves: their evaluations by id, from :func:`bench.report.curves.read_curves`.
        grid: the grid's summary.
        out_dir: where to write.
        quantity: which the curves are of, from :func:`bench.report.curves.read_logged`; None is mIoU.

    Returns:
        The files written: `<grid>-convergence.png`, `.svg` and `.pdf` in `out_dir`, the quantity at the end of their names.

    Raises:
        BenchError: if there are no cells.
    """
    label = quantity or f"{runs.named} (%)"
    without = f"no run has logged {quantity}" if quantity else "no run has been evaluated yet"
    ending = f"-{re.sub('[^A-Za-z0-9]+', '-', quantity)}" if quantity else ""
    return _drawn(runs, {"": curves}, grid, out_dir / f"{grid.name}-convergence{ending}", label, without)


def losses(runs: Runs, logged: Mapping[str, Mapping[str, Curve]], grid: Summary, out_dir: Path) -> list[Path]:
    """Draw every loss and every other logged quantity over iterations, a panel for each of them and each budget.

    Lines and bands are those of :func:`convergence`; each panel has its own y axis.

    Args:
        runs: from :func:`bench.report.records.load`.
        logged: curves by quantity and run, from :func:`bench.report.curves.read_every`.
        grid: the grid's summary.
        out_dir: where to write.

    Returns:
        The files written: `<grid>-losses.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if there are no cells, or no run has logged anything.
    """
    if not logged:
        raise BenchError(f"{grid.name}: no run has logged a loss yet; `status` says what runs")
    label = "logged value"  # losses are means since the log line before, values of evaluations are not
    return _drawn(runs, logged, grid, out_dir / f"{grid.name}-losses", label, "no run of these has logged it")


def _drawn(
    runs: Runs, curves: Mapping[str, Mapping[str, Curve]], grid: Summary, stem: Path, label: str, without: str
) -> list[Path]:
    """Draw curves over iterations, a panel per quantity and budget, and write them as `stem` with each ending.

    Args:
        runs: whose curves they are.
        curves: by quantity and id; the name of the quantity begins a panel's title, and "" adds nothing to it.
        grid: the grid's summary.
        stem: folder and name of the files.
        label: of the y axis, which the panels share where there is one quantity.
        without: stands in a panel without lines.
    """
    table, styles = scores.styled_table(runs, grid, None)
    budgets = [
        (f"{notes.name(section.keys)}, {column.title}", section, at)
        for section in table.sections
        for at, column in enumerate(section.columns)
    ]
    places = [
        ("\n".join(filter(None, (quantity, budget))), lines_of(section, at, found))
        for quantity, found in curves.items()
        for budget, section, at in budgets
    ]
    if len(curves) > 1:  # a loss that no method of a budget has needs no panel
        places = [(title, lines) for title, lines in places if lines]
    drawn = [line for _, lines in places for line in lines]
    marks = scores.spread("line: mean, band: least to greatest", (len(line.runs) for line in drawn))
    if not all(line.done for line in drawn):
        marks += "; where no run is done: unfinished runs"
    marks += scores.mixed(runs)
    with style.styled():
        figure, panels = style.panels(len(places), label, share_x=True, share_y=len(curves) == 1)
        for (title, lines), axes in zip(places, panels, strict=True):
            _convergence_panel(axes, title, lines, styles, without)
        style.finish(figure, table.title, marks, scores.legend(styles, (line.name for line in drawn)))
        return style.save(figure, stem.parent, stem.name)
