"""All that a page shows of a grid, gathered from its plan and the files of its runs, whatever is missing of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.page import memory
from bench.page.cells import Cells, cells
from bench.page.charts import Chart
from bench.page.results import Results, convergence, results
from bench.report import frame, notes, records
from bench.report.curves import cut_short, read_curves
from bench.report.description.checklist import checklist
from bench.report.description.gather import gather
from bench.report.description.model import GridFacts, Item, Passage, SplitFacts
from bench.report.description.words import passages
from bench.report.environment import fact
from bench.report.headline import rule
from bench.report.model import STOPPED, Table
from bench.report.rows import one_line
from bench.report.tally import counted_values
from bench.spec.grid import grid_path
from bench.store.hours import Spent, grid_hours, total
from bench.store.status import GridStatus
from bench.store.throughput import Projection, project_work

if TYPE_CHECKING:
    from bench.page.pictures import Gallery
    from bench.store.summary import Summary

MAX_LINES = 40


@dataclass(frozen=True)
class Asked:
    """What the page is of: the store, the grid and ``--set`` as they were given on the command line."""

    store: Path
    grid: str
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something to know before the numbers are used: what kind it is, in words, and the cell that it is about, if one."""

    kind: str
    text: str
    cell: str = ""


@dataclass(frozen=True)
class Hours:
    """What the grid's cells took by method and state, in all, and what is to come."""

    rows: tuple[tuple[str, str, Spent], ...]
    whole: Spent
    projection: Projection


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        name, title, rule: of the grid; `rule` is the one that it fixed.
        state: its status.
        results: its scores under each rule, its own first; empty where it has no cells.
        charts: of scores over iterations, and of memory.
        cells: each with all that its run recorded.
        problems: what deviates, failed or is missing.
        hours: what it took.
        commands: what makes the runs again, in order.
        software: facts of the environment with the number of runs that have each value.
        passages, items, splits: as `describe` has them.
        source: the grid's file.
        galleries: sample predictions.
    """

    name: str
    title: str
    rule: str
    state: GridStatus
    results: tuple[Results, ...]
    charts: tuple[Chart, ...]
    cells: Cells
    problems: tuple[Problem, ...]
    hours: Hours
    commands: tuple[str, ...]
    software: tuple[tuple[str, str], ...]
    passages: tuple[Passage, ...]
    items: tuple[Item, ...]
    splits: tuple[SplitFacts, ...]
    source: str
    galleries: tuple[Gallery, ...] = ()

    @property
    def done(self) -> int:
        """The number of reported cells that are done."""
        return self.cells.states.get("done", 0)

    @property
    def pictured(self) -> frozenset[str]:
        """The ids of the runs that have sample predictions."""
        samples = (sample for gallery in self.galleries for sample in gallery.samples)
        return frozenset(one.run for sample in samples for one in sample.predictions)


def gather_page(asked: Asked, summary: Summary, state: GridStatus, galleries: Sequence[Gallery] = ()) -> Page:
    """Return all that a page shows; half of the grid, or all of it, may be missing.

    Args:
        asked: what was asked for.
        summary: of the grid.
        state: its status.
        galleries: sample predictions, which take networks to make.

    Raises:
        BenchError: if the grid's selection rule isn't known, or a paper's file is missing or wrong.
    """
    store, headline = asked.store, rule(summary)
    runs = records.load(store, summary.cells)
    known = gather(store, summary, asked.grid, asked.sets)
    curves = read_curves(store, [cell.id for cell in summary.cells])
    found = tuple(results(store, runs, summary))
    rows = frame.load(store, summary.cells)
    columns = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
    charts = [convergence(runs, found[0].table, curves), *memory.charts(store, summary.name, known.runs)]
    listed = cells(store, state, runs, known.runs, columns, [one.rule for one in found])
    return Page(
        name=one_line(summary.name),
        title=one_line(summary.title or summary.name),
        rule=headline.name,
        state=state,
        results=found,
        charts=tuple(chart for chart in charts if chart.panels),
        cells=listed,
        problems=(
            *_problems(summary, state, listed, found[0].table),
            *(Problem("damaged", line) for line in cut_short(summary.cells, curves, store)),
        ),
        hours=_hours(store, summary, state),
        commands=tuple(_commands(asked, known)),
        software=tuple((fact(name).label, counted_values(values)) for name, values in known.software.items()),
        passages=tuple(passages(known, headline)),
        items=tuple(checklist(known, headline)),
        splits=known.splits,
        source=_source(asked.grid),
        galleries=tuple(galleries),
    )


def _problems(summary: Summary, state: GridStatus, listed: Cells, table: Table) -> Iterator[Problem]:
    for line in (*notes.deviations(summary), *notes.absent(summary), *summary.warnings):
        yield Problem("deviates", line)
    for line in table.warnings:
        yield Problem("warning", line)
    for cell in listed.cells:
        if cell.state in STOPPED:
            yield Problem(
                cell.state, f"{cell.name}: at step {cell.step:,}" + f": {cell.said}" * bool(cell.said), cell.id
            )
    waiting = {name: count for name, count in listed.states.items() if name not in (*STOPPED, "done")}
    if waiting:
        said = ", ".join(f"{count} {name}" for name, count in waiting.items())
        yield Problem("missing", f"{sum(waiting.values())} of {len(listed.cells)} cells are not done yet: {said}.")
    yield from _of_status(state)


def _of_status(state: GridStatus) -> Iterator[Problem]:
    stale = state["stale"]
    for row in stale[:MAX_LINES]:
        yield Problem("stale", f"{row['id']}: {row.get('reason') or 'no longer in the grid'}")
    if len(stale) > MAX_LINES:
        yield Problem("stale", f"and {len(stale) - MAX_LINES} more runs of the grid's past")
    if state.get("slurm_error"):
        yield Problem("Slurm", f"from the files alone, Slurm doesn't answer: {state['slurm_error']}")
    for line in state.get("contradictions", [])[:MAX_LINES]:
        yield Problem("contradiction", line)
    for node, why in state.get("bad_nodes", {}).items():
        yield Problem("node", f"{node}: {why}")


def _hours(store: Path, summary: Summary, state: GridStatus) -> Hours:
    found = grid_hours(store, state["cells"])
    rows = tuple((method, name, spent) for (method, name), spent in found.items())
    return Hours(rows, total(found.values()), project_work(summary.work, store))


def _commands(asked: Asked, known: GridFacts) -> Iterator[str]:
    """Yield what makes the runs again: the code as it was, the data, the runs, the table, and this page."""
    commits = list(dict.fromkeys(run.commit for run in known.runs if run.commit))
    for commit in commits[:1]:
        more = f"; other runs: {', '.join(commits[1:])}" if commits[1:] else ""
        changed = "; with changes that were not committed" if any(run.dirty for run in known.runs) else ""
        yield f"git checkout {commit}" + (f"    #{(more + changed).removeprefix(';')}" if more or changed else "")
    yield "make setup"
    words = [word for value in asked.sets for word in ("--set", value)]
    yield shlex.join(["python", "bench.py", "plan", asked.grid, *words, *known.data_options])
    yield from known.commands
    yield shlex.join(["python", "bench.py", "report", asked.grid, *words, "-o", "reports"])


def _source(grid: str) -> str:
    try:
        return grid_path(grid).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
