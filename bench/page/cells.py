"""What a page shows of each cell: where it stands in the grid, its state and scores, and all that its run has recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from bench.errors import Damaged
from bench.page.charts import losses
from bench.page.drawing import Drawing, draw
from bench.patience import open_file
from bench.report.curves import read_all
from bench.report.description.model import RunFacts
from bench.report.environment import FACTS, PLUGIN, fact
from bench.report.records import Record, Runs
from bench.report.rows import STATES, one_line
from bench.store.names import Names
from bench.store.rounding import mixed_code, went_on
from bench.store.run import Run
from bench.store.status import GridStatus, StatusRow
from bench.text import without_commands

DETAILED = 200  # cells of which everything is shown; of more, those that need a look first
LOG_LINES, LOG_BYTES = 30, 4000  # of the end of a log
POINTS = 60  # of a loss
WIDTH, HEIGHT = 380, 190
_COUNTS = (
    "labelled_images",
    "holdout_images",
    "unlabelled_images",
    "labelled_pixels",
)


@dataclass(frozen=True)
class Group:
    """Named facts under a title."""

    title: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class CellView:
    """A cell.

    Attributes:
        id, name, values: its id, its name, and its values on the axes that vary.
        state, said: its state, and what is known about it.
        step, iterations, rate: optimizer steps done, planned, and per second (0 where it isn't known).
        scores: mIoU in % by rule; None where unknown.
        attempts: number of attempts.
        seconds: that all attempts took.
        groups: all that is known of it; empty where the page has no details of this cell.
        curves: drawings of what it logged.
        log: the end of its log.
        spec: what identifies it, as YAML.
    """

    id: str
    name: str
    values: tuple[str, ...]
    state: str
    said: str
    step: int
    iterations: int
    rate: float
    scores: Mapping[str, float | None]
    attempts: int
    seconds: float | None
    groups: tuple[Group, ...] = ()
    curves: tuple[Drawing, ...] = ()
    log: str = ""
    spec: str = ""

    @property
    def progress(self) -> int:
        """Steps done, in whole %."""
        return int(100 * self.step / self.iterations) if self.iterations else 0


@dataclass(frozen=True)
class Cells:
    """The cells of a grid in its order, the axes on which they differ, and how many have no details."""

    axes: tuple[str, ...]
    rules: tuple[str, ...]
    cells: tuple[CellView, ...]
    without_details: int

    @property
    def states(self) -> dict[str, int]:
        """The number of cells by state, in the order of the cells."""
        found: dict[str, int] = {}
        for cell in self.cells:
            found[cell.state] = found.get(cell.state, 0) + 1
        return found


def cells(
    store: Path,
    state: GridStatus,
    runs: Runs,
    facts: Sequence[RunFacts],
    frame: Sequence[Mapping[str, Any]],
    rules: Sequence[str],
) -> Cells:
    """Return the cells of a grid that are reported.

    Args:
        store: the run store.
        state: the grid's status; its trials are left out.
        runs: the grid's.
        facts: of the same runs, in the same order.
        frame: a row of `table --runs` for each, in the same order.
        rules: the rules whose scores are shown.
    """
    rows = {row["id"]: row for row in state["cells"]}
    names = Names([run.cell.coords for run in facts])
    detailed = _detailed([rows[run.cell.id] for run in facts])
    found = []
    for record, known, columns in zip(runs.records, facts, frame, strict=True):
        row = rows[record.run.id]
        cell = _cell(row, record, known, names, rules)
        found.append(_with_details(store, cell, record, known, columns, row) if cell.id in detailed else cell)
    return Cells(tuple(map(one_line, names.headings)), tuple(rules), tuple(found), len(found) - len(detailed))


def _detailed(rows: Sequence[StatusRow]) -> set[str]:
    """Return the ids of the cells that have details: those that stopped first, those that are pending last."""
    order = [state for state in STATES if state != "pending"]
    first = sorted(rows, key=lambda row: order.index(row["state"]) if row["state"] in order else len(order))
    return {row["id"] for row in first[:DETAILED]}


def _cell(row: StatusRow, record: Record, known: RunFacts, names: Names, rules: Sequence[str]) -> CellView:
    said = [row.get("reason"), went_on(row.get("hardware")), mixed_code(row.get("codes"))]
    running = row["state"] == "running"
    return CellView(
        row["id"],
        one_line(names.name(known.cell.coords)),
        tuple(map(one_line, names.values(known.cell.coords))),
        row["state"],
        "; ".join(filter(None, said)),
        row["step"],
        row["iterations"],
        (row.get("it_per_s") or 0.0) if running else 0.0,
        {rule: record.run.values.get(rule) for rule in rules},
        known.attempts,
        known.spent.seconds if known.spent else None,
    )


def _with_details(
    store: Path, cell: CellView, record: Record, known: RunFacts, columns: Mapping[str, Any], row: StatusRow
) -> CellView:
    run = Run(store / cell.id)
    groups = (
        Group("Run", dict(_of_run(known, columns, row))),
        Group("Scores", dict(_scores(columns))),
        Group("Cost", dict(_cost(columns, known))),
        Group("Environment", dict(_environment(columns))),
    )
    return replace(
        cell,
        groups=tuple(group for group in groups if group.facts),
        curves=_curves(run),
        log=_log(run),
        spec=yaml.safe_dump(dict(known.identity), sort_keys=False, allow_unicode=True) if known.identity else "",
    )


def _of_run(known: RunFacts, columns: Mapping[str, Any], row: StatusRow) -> Iterator[tuple[str, str]]:
    yield "id", known.cell.id
    seeds = known.identity.get("seeds") or {"seed": known.cell.coords.get("seed", "")}
    yield "seeds", ", ".join(f"{name} {value}" for name, value in seeds.items())
    if known.split:
        yield "split (SHA-256)", known.split
    if known.data:
        yield "data (SHA-256)", known.data
    if known.evaluation:
        yield "evaluation", known.evaluation
    for name in _COUNTS:
        if _known(columns.get(name)):
            yield name.replace("_", " "), f"{columns[name]:,.0f}"
    if known.attempts:
        yield "attempts", str(known.attempts)
    for label, time in (("began", known.began), ("last record", known.ended)):
        if time:
            yield label, f"{time:%Y-%m-%d %H:%M:%S} UTC"
    place = row.get("node") or row.get("host")
    if place:
        yield "host", f"{place}, process {row['pid']}" if "pid" in row else str(place)
    if row.get("job"):
        yield "job", str(row["job"])
    if known.cell.deviations:
        yield "deviates from the recipe in", ", ".join(known.cell.deviations)
    if known.merged:
        yield "origin", "merged from a bundle"


def _known(value: Any) -> bool:
    return value is not None and value == value and value != ""


def _scores(columns: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for rule in ("last", "best", "selected"):
        if _known(columns.get(f"miou_{rule}")):
            accuracy = columns[f"pixel_accuracy_{rule}"]
            step, miou = columns[f"step_{rule}"], columns[f"miou_{rule}"]
            yield rule, f"mIoU {miou:.2f} %, pixel accuracy {accuracy:.2f} %, at step {step:,.0f}"


def _cost(columns: Mapping[str, Any], known: RunFacts) -> Iterator[tuple[str, str]]:
    if _known(columns.get("seconds")):
        yield "training and evaluation", f"{columns['seconds']:,.0f} s"
    if known.spent:
        yield "all attempts", f"{known.spent.seconds:,.0f} s"
        lost = sum(known.spent.lost.values())
        if lost >= 1:
            yield "of that lost", f"{lost:,.0f} s"
        if known.spent.gpu_seconds:
            yield "GPU hours", f"{known.spent.gpu_seconds / 3600:,.2f}"
    for name, label, unit in (
        ("training_seconds_per_step", "a step", "{:.4g} s"),
        ("training_images_per_s", "throughput", "{:,.1f} images/s"),
        ("training_wait_share", "waits for data", "{:.1%} of the time"),
    ):
        if _known(columns.get(name)):
            yield label, unit.format(columns[name])
    for name, label in (
        ("peak_memory_bytes", "peak memory of tensors"),
        ("peak_rss_bytes", "peak memory of the process"),
    ):
        if _known(columns.get(name)):
            phase = columns.get("peak_memory_phase") if name == "peak_memory_bytes" else ""
            yield label, f"{columns[name] / 1e6:,.0f} MB" + (f", in {phase}" if phase else "")


def _environment(columns: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    plugins = [name for name in columns if name.startswith(PLUGIN)]
    for name in [*(one.column for one in FACTS), *plugins]:
        if name != "data_sha256" and _known(columns.get(name)):
            yield fact(name).label, str(columns[name])


def _curves(run: Run) -> tuple[Drawing, ...]:
    try:
        status = run.metrics.stat()
    except OSError:
        return ()
    return _curves_of(run.path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2 * DETAILED)
def _curves_of(run: Path, changed: int, size: int) -> tuple[Drawing, ...]:
    """Return the drawings of a run whose metrics.jsonl was changed then and is so long: a page that is served asks often."""
    drawn = (draw(losses(curves, title, POINTS), WIDTH, HEIGHT) for title, curves in read_all(Run(run)).items())
    return tuple(drawing for drawing in drawn if drawing is not None)


def _log(run: Run) -> str:
    """Return the last lines of a run's log."""
    try:
        with open_file(run.log) as file:
            file.seek(max(file.seek(0, 2) - LOG_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    except Damaged as error:
        return f"{run.log.name}: {error.why}"
    return without_commands("\n".join(text.splitlines()[-LOG_LINES:]))
