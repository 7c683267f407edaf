"""The plot of mIoU over the label budget. It works on a half-finished grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.ticker import NullLocator

from bench.report import notes
from bench.report.figures import scores, style
from bench.report.model import Section
from bench.report.records import Runs
from bench.store.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class BudgetAxis:
    """The x axis of a panel: one position per column of the table, None where no run has told it yet."""

    positions: list[float | None]
    unit: str

    @property
    def known(self) -> list[float]:
        """The positions that are known."""
        return [x for x in self.positions if x is not None]


def budget_axis(section: Section) -> BudgetAxis:
    """Return labelled images, or labelled pixels where budgets differ in these alone (partial labels)."""
    images = BudgetAxis([column.images or None for column in section.columns], "images")
    pixels = BudgetAxis([column.pixels or None for column in section.columns], "pixels")
    return pixels if len(set(pixels.known)) > len(set(images.known)) else images


def _count(x: float) -> str:
    return f"{x:,.0f}" if x < 1e6 else f"{x / 1e6:.3g} M"


def _ticks(axes: Axes, section: Section, budgets: BudgetAxis) -> None:
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
    axes: Axes, section: Section, budgets: BudgetAxis, styles: Mapping[str, style.LineStyle], which: str
) -> None:
    moved = scores.apart(budgets.known, len(section.rows), log=True)
    for i, row in enumerate(section.rows):
        look = styles[scores.row_name(row)]
        points = [(moved(i, x), c) for x, c in zip(budgets.positions, row.cells, strict=True) if x is not None]
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


def _ratio_panel(axes: Axes, section: Section, styles: Mapping[str, style.LineStyle], which: str) -> None:
    style.title(axes, notes.name(section.keys))
    budgets = budget_axis(section)
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


def ratio(runs: Runs, grid: Summary, out_dir: Path, select: str | None = None) -> list[Path]:
    """Draw mIoU over the label budget, mean ± sample sd over seeds, one panel per dataset and network.

    It shows the numbers of :func:`bench.report.tables.build`. Error bars are missing where there is one seed; a hollow
    marker is a cell with seeds missing; a line is broken where a budget has no run.

    Returns:
        The files written: `<grid>-ratio.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if there are no cells, or there is no such selection rule.
    """
    table, styles = scores.styled_table(runs, grid, select)
    rows = [row for section in table.sections for row in section.rows]
    cells = [cell for row in rows for cell in row.cells]
    marks = scores.spread("mean ± sample standard deviation", (len(cell.done) for cell in cells))
    marks += f"; rule '{table.rule.name}'"
    if any(cell.done and cell.others for cell in cells):
        marks += "; hollow: seeds missing"
    marks += scores.mixed(runs)
    with style.styled():
        figure, panels = style.panels(len(table.sections), f"{runs.named} (%)")
        for section, axes in zip(table.sections, panels, strict=True):
            _ratio_panel(axes, section, styles, table.rule.name)
        legend = scores.legend(styles, (scores.row_name(row) for row in rows if any(cell.done for cell in row.cells)))
        style.finish(figure, table.title, marks, legend)
        return style.save(figure, out_dir, f"{grid.name}-ratio")
