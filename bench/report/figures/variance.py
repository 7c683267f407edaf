"""The plot of variance components: how much of the spread comes from the split, the initialisation, and the rest."""

from __future__ import annotations

from pathlib import Path

from matplotlib.lines import Line2D

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.headline import rule
from bench.report.records import Runs
from bench.report.rows import one_line
from bench.report.variance import of_cells
from bench.store.summary import Summary

_HEIGHT = 0.24  # of a bar, in rows


def variance(runs: Runs, grid: Summary, out_dir: Path, select: str | None = None) -> list[Path]:
    """Draw the standard deviations of each cell's runs by split, by the other crossed seed, and by the rest.

    Returns:
        The files written: `<grid>-variance.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if the grid crosses no seeds or no cell's runs are all done, or there is no such selection rule.
    """
    which = rule(grid, select).name
    cells = of_cells(runs, which)
    if not cells:
        raise BenchError(
            "plot variance: needs a cell with all runs done, in a grid that crosses two seeds: "
            "`axes: {seeds.split: [0, 1, 2], seeds.init: [0, 1, 2]}`"
        )
    first, second = cells[0].factors
    with style.styled():
        figure, (axes,) = style.panels(1, "")
        figure.set_size_inches(7.2, 1.8 + 0.55 * len(cells))
        for row, cell in enumerate(cells):
            parts = (cell.found.first, cell.found.second, cell.found.rest)
            below = [name in cell.found.negative for name in cell.factors] + [False]
            for bar, (value, negative) in enumerate(zip(parts, below, strict=True)):
                at = row + (bar - 1) * _HEIGHT
                axes.barh(at, value, _HEIGHT, color=style.COLOURS[bar], hatch=("", "//", "..")[bar], edgecolor="white")
                axes.text(value, at, f" {value:.2f}" + negative * " (estimate below 0)", va="center", fontsize=8)
        axes.set_yticks(range(len(cells)), [one_line(cell.name) for cell in cells])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(f"standard deviation ({runs.named})")
        names = (first, second, "the rest: interaction and all else")
        looks = [Line2D([], [], color=style.COLOURS[i], linewidth=6, label=name) for i, name in enumerate(names)]
        runs_of = sorted({cell.found.runs for cell in cells})
        marks = f"variance components, {' or '.join(map(str, runs_of))} runs per cell; rule '{which}'"
        style.finish(figure, one_line(grid.title or grid.name), marks, looks)
        return style.save(figure, out_dir, f"{grid.name}-variance")
