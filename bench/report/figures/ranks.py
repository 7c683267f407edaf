"""The critical-difference plot: mean ranks over label budgets and seeds, joined where nothing tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.headline import rule
from bench.report.records import Runs, group, pick
from bench.report.rows import one_line
from bench.report.statistics.ranks import LEVEL, Ranks, least_blocks, rank
from bench.store.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ranked(runs: Runs, which: str) -> Ranks:
    """Return the ranks of a grid's methods over the places and seeds at which all of them are done.

    Raises:
        BenchError: if the grid has a single method, or there is no such place.
    """
    methods = list(dict.fromkeys(str(record.coords["method"]) for record in runs.records))
    if len(methods) < 2:
        raise BenchError("plot ranks: the grid has a single method")
    apart = [axis for axis in runs.axes if axis != "method"]
    blocks = []
    for found in group(runs.records, lambda record: pick(record, apart)).values():
        scores = {str(r.coords["method"]): r.run.values.get(which) for r in found if r.run.state == "done"}
        if all(scores.get(method) is not None for method in methods):
            blocks.append([scores[method] for method in methods])
    if not blocks:
        raise BenchError("plot ranks: at no label budget and seed are all methods done")
    return rank(methods, np.array(blocks, dtype=np.float64))


def _names(axes: Axes, found: Ranks) -> None:
    """Write the better half of the methods to the left, the others to the right, each with a line to its mean rank."""
    count, half = len(found.methods), -(-len(found.methods) // 2)
    for place, (name, mean) in enumerate(zip(found.methods, found.mean, strict=True)):
        left = place < half
        height = -0.9 - 0.45 * (place if left else count - 1 - place)
        edge = 0.75 if left else count + 0.25
        axes.plot([mean, mean, edge], [0, height, height], color="black", linewidth=0.9, clip_on=False)
        text = f"{one_line(name)} ({mean:.2f})"
        shift = -0.05 if left else 0.05
        axes.text(edge + shift, height, text, ha="right" if left else "left", va="center")


def _draw(axes: Axes, found: Ranks, score: str) -> None:
    count = len(found.methods)
    axes.set_xlim(0.75, count + 0.25)
    axes.set_ylim(-1.1 - 0.45 * -(-count // 2), 0.2)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(1, count + 1))
    axes.set_xlabel(f"mean rank (1: highest {score})")
    axes.set_yticks([])
    axes.grid(visible=False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "top")
    axes.spines["top"].set_position(("data", 0))
    for line, (first, last) in enumerate(found.alike):
        height = -0.22 - 0.16 * line
        span = [found.mean[first] - 0.03, found.mean[last] + 0.03]
        axes.plot(span, [height, height], color=style.COLOURS[0], linewidth=4, solid_capstyle="butt", clip_on=False)
    _names(axes, found)


def ranks(runs: Runs, grid: Summary, out_dir: Path, select: str | None = None) -> list[Path]:
    """Draw the mean ranks of a grid's methods; a bar joins methods that no paired test tells apart.

    Returns:
        The files written: `<grid>-ranks.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: see :func:`ranked`; or if there is no such selection rule.
    """
    which = rule(grid, select).name
    found = ranked(runs, which)
    marks = f"{found.blocks} label budgets × seeds; rule '{which}'"
    if found.friedman is not None:
        marks += f"; Friedman p {found.friedman:.3g}"
    if found.blocks < (least := least_blocks(len(found.methods))):
        marks += (
            f"\ntoo few: with {len(found.methods)} methods fewer than {least} tell nothing apart, whatever the scores"
        )
    with style.styled():
        figure, (axes,) = style.panels(1, "")
        figure.set_size_inches(9.0, 1.9 + 0.28 * len(found.methods))
        _draw(axes, found, runs.named)
        bar = Line2D([], [], color=style.COLOURS[0], linewidth=4, label=f"not told apart (Wilcoxon, Holm, {LEVEL:g})")
        style.finish(figure, one_line(grid.title or grid.name), marks, [bar])
        return style.save(figure, out_dir, f"{grid.name}-ranks")
