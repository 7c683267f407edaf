"""What tuning brought: the best score to expect of a number of trials, and the trials' scores over each hyperparameter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.rows import one_line
from bench.report.tuning.budget import HIGH, LOW, expected_best, quantile_of_best
from bench.report.tuning.standing import Searched, images_said, searched
from bench.store.summary import Summary, Tuning
from bench.store.trials import DIVERGED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 10.0  # highest over lowest value of a hyperparameter, from which on its axis is logarithmic


def compared(one: Searched) -> tuple[int, list[float]] | None:
    """Return the last rung that all trials of a group came to, in steps, and their scores there; diverged ones have 0.

    None where there is no such rung yet.
    """
    for rung in range(len(one.group.steps) - 1, -1, -1):
        scores = [standing.scores[rung] for standing in one.found.standings if not standing.left_out]
        if len(scores) > 1 and all(score is not None for score in scores):
            return one.group.steps[rung], [0.0 if score in (None, DIVERGED) else float(score or 0) for score in scores]
    return None


def tuning(store: Path, grid: Summary, out_dir: Path) -> list[Path]:
    """Draw a tuned grid's trials.

    Returns:
        The files written: `<grid>-tuning.png`, `.svg` and `.pdf` in `out_dir`.

    Raises:
        BenchError: if the grid isn't tuned, or none of its groups has two trials that can be compared.
    """
    if grid.tuning is None:
        raise BenchError(f"plot tuning: {grid.name} has no `tune` section")
    every = searched(store, grid)
    shown = [(one, found) for one in every if (found := compared(one)) is not None]
    if not shown:
        raise BenchError("plot tuning: no two trials of one method and protocol have a score at the same step yet")
    keys = list(dict.fromkeys(key for one, _ in shown for trial in one.group.trials for key in trial.settings))
    looks = style.line_styles(one.name for one, _ in shown)
    with style.styled():
        figure, panels = style.panels(1 + len(keys), _label(grid.tuning), share_y=False)
        _curves(panels[0], shown, looks)
        for axes, key in zip(panels[1:], keys, strict=False):
            _strip(axes, shown, looks, key)
        steps = ", ".join(dict.fromkeys(f"{step:,}" for _, (step, _) in shown))
        marks = (
            f"left: best of n trials drawn from all, expected (line) and in 8 of 10 draws (band); others: each trial\n"
            f"over one hyperparameter; scores on {images_said(grid.tuning)} at step {steps}"
        )
        handles = [style.legend_line(name, look) for name, look in looks.items()]
        style.finish(figure, one_line(grid.title or grid.name), marks, handles)
        return style.save(figure, out_dir, f"{grid.name}-tuning")


def _label(tuning: Tuning) -> str:
    return "holdout mIoU in %" if tuning.on == "holdout" else "mIoU in %"


Shown = Sequence[tuple[Searched, tuple[int, list[float]]]]


def _curves(axes: Axes, shown: Shown, looks: dict[str, style.LineStyle]) -> None:
    for one, (_, scores) in shown:
        look, budget = looks[one.name], range(1, len(scores) + 1)
        low, high = quantile_of_best(scores, LOW), quantile_of_best(scores, HIGH)
        axes.fill_between(budget, low, high, color=look.colour, alpha=0.15, linewidth=0, step=None)
        axes.plot(budget, expected_best(scores), color=look.colour, marker=look.marker, linestyle=look.line)
    axes.set_xlabel("trials")
    axes.set_xticks(range(1, max(len(scores) for _, (_, scores) in shown) + 1))
    style.title(axes, "best of n trials")


def _strip(axes: Axes, shown: Shown, looks: dict[str, style.LineStyle], key: str) -> None:
    """Draw each trial's score over one hyperparameter; those of the recipe as written have no value, and are left out."""
    values = [v for one, _ in shown for trial in one.group.trials if (v := trial.settings.get(key)) is not None]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    places = {str(value): place for place, value in enumerate(dict.fromkeys(values))}
    for one, (_, scores) in shown:
        look = looks[one.name]
        trials = [t for t, s in zip(one.group.trials, one.found.standings, strict=True) if not s.left_out]
        points = [(t.settings[key], score) for t, score in zip(trials, scores, strict=True) if key in t.settings]
        x: list[Any] = [value if numbers else places[str(value)] for value, _ in points]
        axes.plot(x, [score for _, score in points], color=look.colour, marker=look.marker, linestyle="none", alpha=0.8)
    if not numbers:
        axes.set_xticks(list(places.values()), list(places))
    elif min(values) > 0 and max(values) / min(values) >= _WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(key)
    style.title(axes, "")
