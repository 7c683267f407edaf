"""Memory against pixels sampled, log-log: of whole steps and of the loss, beside the mIoU of runs that sample as many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import EngFormatter, NullFormatter

from bench.files import read_json
from bench.report.figures import style
from bench.report.records import Runs
from bench.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BYTES = EngFormatter(unit="B")
_COUNTS = EngFormatter(sep="")  # 1k, 1M: the style turns mathematical text off
Points = dict[str, list[tuple[int, float]]]  # series -> (pixels, mIoU in %)


def scores(store: Path, runs: Runs, rows: Sequence[Mapping[str, Any]]) -> Points:
    """Return the mIoU (`last`) of runs whose method has the options of a measured setting.

    Args:
        store: the run store.
        runs: the grid's, from :func:`bench.report.records.load`.
        rows: a sweep's; those with a `method` take part.
    """
    found: Points = {}
    for run in (record.run for record in runs.records if record.run.state == "done"):
        method = (read_json(Run(store / run.id).cell) or {}).get("spec", {}).get("method", {})
        miou = run.values["last"]
        for row in rows:
            same = all(method.get(k) == v for k, v in row["setting"].items())
            if row["method"] is not None and row["method"] == method.get("name") and row["pixels"] and same:
                found.setdefault(row["series"], []).append((row["pixels"], math.nan if miou is None else miou))
    return found


@dataclass(frozen=True)
class Measured:
    """One series in one panel: (pixels, bytes) that were measured, and the pixels at which memory ran out."""

    done: list[tuple[int, float]]
    out: list[int]


def measured_points(rows: Sequence[Mapping[str, Any]], series: str, part: str | None, key: str) -> Measured:
    """Return a series' bytes under a key of its rows, or of a part of them that some have."""
    own = [row for row in rows if row["series"] == series and row["pixels"] and (part is None or part in row)]
    found = [(row["pixels"], row if part is None else row[part]) for row in own]
    done = [(pixels, measured[key]) for pixels, measured in found if measured["state"] == "done"]
    return Measured(sorted(done), [pixels for pixels, measured in found if measured["state"] == "out-of-memory"])


def _panel(
    axes: Axes, title: str, points: Mapping[str, Measured], looks: Mapping[str, style.LineStyle], limit: float
) -> None:
    """Draw pixels against bytes, both on log scales; at the limit, hollow and with an arrow, what ran out of memory."""
    style.title(axes, title)
    axes.set_xlabel("pixels sampled per step (log scale)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(_COUNTS)
    axes.yaxis.set_major_formatter(_BYTES)
    axes.yaxis.set_minor_formatter(NullFormatter())
    for name, found in points.items():
        look = looks[name]
        axes.plot(*_columns(found.done), color=look.colour, marker=look.marker, linestyle="")
        largest = dict(found.done)  # where settings share their pixels, the line follows the largest
        axes.plot(list(largest), list(largest.values()), color=look.colour, linestyle=look.line, linewidth=1)
        for x in found.out:
            axes.plot([x], [limit], marker=look.marker, color=look.colour, mfc="white", linestyle="")
            axes.annotate("", (x, limit * 2), (x, limit), arrowprops={"arrowstyle": "->", "color": look.colour})
    if any(found.out for found in points.values()):
        axes.axhline(limit, color="#555555", linewidth=0.8, linestyle=":")
        axes.set_ylim(top=limit * 4)
        axes.text(0.02, limit * 1.12, f"limit {_BYTES(limit)}", transform=axes.get_yaxis_transform(), fontsize=8)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _base_line(axes: Axes, base: float) -> None:
    """Draw what the recipe's own step takes: all of the losses come on top of it."""
    axes.axhline(base, color="#555555", linewidth=1.0, linestyle=(0, (5, 2)))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, base / 1.6), high)
    words = f"step without a contrast: {EngFormatter(unit='B', places=2)(base)}"
    axes.text(0.02, base / 1.06, words, transform=axes.get_yaxis_transform(), fontsize=8, va="top")


def _score_panel(axes: Axes, runs: Points, looks: Mapping[str, style.LineStyle]) -> None:
    style.title(axes, "mIoU of the runs that sample as many")
    axes.set_xlabel("pixels sampled per step (log scale)")
    axes.set_ylabel("mIoU (%)")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_COUNTS)
    for name, points in runs.items():
        xs, ys = zip(*sorted(points), strict=True)
        axes.plot(xs, ys, color=looks[name].colour, marker=looks[name].marker, linestyle="")


def _name(label: str, slope: float | None) -> str:
    return label if slope is None else f"{label}: slope {round(slope, 2) + 0.0:.2f}"  # no -0.00


def _within(name: str, series: Mapping[str, Measured]) -> bool:
    """Tell whether another series has all points of this one and more: it has been measured for its whole steps."""
    own = series[name].done
    return any(set(own) < set(points.done) for points in series.values())


def draw(found: Mapping[str, Any], runs: Points | None, out_dir: Path, name: str = "memory") -> list[Path]:
    """Draw a sweep; settings that ran out of memory are hollow markers at the limit, with an arrow.

    Args:
        found: what ``bench.cost.sweep.sweep`` returned.
        runs: from :func:`scores`; None leaves the last panel out.
        out_dir: where to write.
        name: of the sweep's file, without its ending.

    Returns:
        The files written: `<name>-memory.png`, `.svg` and `.pdf` in `out_dir`; of a sweep called `memory`, `memory.png`.
    """
    rows, limit, base = found["rows"], float(found["limit_bytes"]), found.get("base")
    looks = style.line_styles(dict.fromkeys(row["series"] for row in rows))
    every = {name: measured_points(rows, name, "step", "peak_bytes") for name in looks}
    steps = {name: points for name, points in every.items() if points != Measured([], [])}
    alone = {name: measured_points(rows, name, None, "extra_bytes") for name in looks}
    losses = {name: points for name, points in alone.items() if not (name in steps and _within(name, alone))}
    with style.styled():
        count = 1 + bool(steps) + (runs is not None)
        figure, panels = style.panels(count, "", share_y=False)
        panels[0].set_ylabel("memory (log scale)")
        left = list(panels)
        if steps:
            _panel(left[0], "a whole training step", steps, looks, limit)
            if base is not None and base["state"] == "done":
                _base_line(left[0], float(base["peak_bytes"]))
            left.pop(0)
        _panel(left[0], "the loss alone, above its inputs", losses, looks, limit)
        if runs is not None:
            _score_panel(panels[-1], runs, looks)
        edges = [axes.get_xlim() for axes in panels]
        for axes in panels:  # the same setting stands at the same place in all
            axes.set_xlim(min(low for low, _ in edges), max(high for _, high in edges))
        how = "measured" if found["mode"] == "real" else "predicted, not measured"
        marks = f"{how}; slopes of the loss: log memory over log pixels; hollow with an arrow: out of memory"
        legend = [style.legend_line(_name(name, found["slopes"][name]), look) for name, look in looks.items()]
        style.finish(figure, found["title"], marks, legend)
        return style.save(figure, out_dir, name if name == "memory" else f"{name}-memory")
