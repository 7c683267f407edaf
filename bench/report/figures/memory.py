"""Extra memory against pixels sampled, log-log, beside the mIoU of the runs that sample as many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import EngFormatter

from bench.files import read_json
from bench.report.figures import style
from bench.report.records import Runs
from bench.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def _memory_panel(axes: Axes, found: Mapping[str, Any], looks: Mapping[str, style.LineStyle]) -> None:
    axes.set_title("extra memory of the loss")
    axes.set_xlabel("pixels sampled per step (log scale)")
    axes.set_ylabel("extra memory (MB, log scale)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(_COUNTS)
    axes.yaxis.set_major_formatter(_COUNTS)
    limit = found["limit_bytes"] / 1e6
    for name, look in looks.items():
        rows = [r for r in found["rows"] if r["series"] == name and r["pixels"]]
        done = sorted((r["pixels"], r["extra_bytes"] / 1e6) for r in rows if r["state"] == "done")
        axes.plot([x for x, _ in done], [y for _, y in done], color=look.colour, marker=look.marker, linestyle="")
        largest: dict[int, float] = dict(done)  # where settings share their pixels, the line follows the largest
        axes.plot(list(largest), list(largest.values()), color=look.colour, linestyle=look.line, linewidth=1)
        for x in [r["pixels"] for r in rows if r["state"] == "out-of-memory"]:
            axes.plot([x], [limit], marker=look.marker, color=look.colour, mfc="white", linestyle="")
            axes.annotate("", (x, limit * 2), (x, limit), arrowprops={"arrowstyle": "->", "color": look.colour})
    if any(r["state"] == "out-of-memory" for r in found["rows"]):
        axes.axhline(limit, color="#555555", linewidth=0.8, linestyle=":")
        axes.set_ylim(top=limit * 4)
        axes.text(0.02, limit * 1.15, f"limit {limit / 1e3:g} GB", transform=axes.get_yaxis_transform(), fontsize=8)


def _score_panel(axes: Axes, runs: Points, looks: Mapping[str, style.LineStyle]) -> None:
    axes.set_title("mIoU of the runs that sample as many")
    axes.set_xlabel("pixels sampled per step (log scale)")
    axes.set_ylabel("mIoU (%)")
    if not runs:
        axes.set_xticks([])
        style.empty(axes, "no run is done yet")
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_COUNTS)
    for name, points in runs.items():
        xs, ys = zip(*sorted(points), strict=True)
        axes.plot(xs, ys, color=looks[name].colour, marker=looks[name].marker, linestyle="")


def _name(label: str, slope: float | None) -> str:
    return f"{label}: slope {'–' if slope is None else f'{slope:.2f}'}"


def draw(found: Mapping[str, Any], runs: Points | None, out_dir: Path, name: str = "memory") -> list[Path]:
    """Draw a sweep; settings that ran out of memory are hollow markers at the limit, with an arrow.

    Args:
        found: what ``bench.cost.sweep.sweep`` returned.
        runs: from :func:`scores`; None leaves the second panel out.
        out_dir: where to write.
        name: of the sweep's file, without its ending.

    Returns:
        The files written: `<name>-memory.png`, `.svg` and `.pdf` in `out_dir`; of a sweep called `memory`, `memory.png`.
    """
    looks = style.line_styles(dict.fromkeys(row["series"] for row in found["rows"]))
    with style.styled():
        figure, panels = style.panels(1 if runs is None else 2, "", share_y=False)
        _memory_panel(panels[0], found, looks)
        if runs is not None:
            _score_panel(panels[1], runs, looks)
            if runs:
                panels[1].set_xlim(panels[0].get_xlim())  # the same setting stands at the same place in both
        how = "measured" if found["mode"] == "real" else "predicted"
        marks = f"{how}; slopes of log memory over log pixels; hollow with an arrow: out of memory"
        legend = [style.legend_line(_name(name, found["slopes"][name]), look) for name, look in looks.items()]
        style.finish(figure, found["title"], marks, legend)
        return style.save(figure, out_dir, name if name == "memory" else f"{name}-memory")
