"""What tests of plots share: drawing a store's runs, and reading what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report import curves, records
from bench.report.figures import convergence as convergence_plot
from bench.report.figures import ratio as ratio_plot
from bench.store.summary import Summary
from tests.bench.report.conftest import Store


def ratio(store: Store, grid: Summary, out: Path, select: str | None = None) -> list[Path]:
    """Draw the plot of the store's runs."""
    return ratio_plot.ratio(records.load(store.path, store.cells), grid, out, select)


def convergence(store: Store, grid: Summary, out: Path) -> list[Path]:
    """Draw the plot of the store's runs."""
    runs = records.load(store.path, store.cells)
    found = curves.read_curves(store.path, (cell.id for cell in store.cells))
    return convergence_plot.convergence(runs, found, grid, out)


def panels(figure: Figure) -> list[Axes]:
    """Return the panels that are shown."""
    return [axes for axes in figure.axes if axes.get_visible()]


def shown(axes: Axes) -> list[str]:
    """Return the texts within a panel."""
    return [text.get_text() for text in axes.texts]


def ys(line: Line2D) -> list[float]:
    """Return a line's values."""
    found: list[float] = np.asarray(line.get_ydata()).tolist()
    return found


def marks(figure: Figure) -> str:
    """Return what the legend says of the marks."""
    return figure.legends[0].get_title().get_text()


def fill(store: Store) -> None:
    """Plan and finish runs of two methods on two budgets with three seeds."""
    for method, base in (("a", 40.0), ("b", 50.0)):
        for labels, images in (("20", 20), ("full", 367)):
            for seed in range(3):
                run = store.plan(method, labels, seed)
                store.done(run, base + seed, best=base + 10, labelled_images=images)
                store.evaluations(run, {100: base - 10 + seed, 200: base + seed})
