"""What a page shows of a grid's scores: its table under each selection rule, per-class IoU, and the charts of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.page import charts
from bench.page.charts import Chart
from bench.report import notes, tables
from bench.report.curves import Curve
from bench.report.formats.render import render
from bench.report.formats.view import TableView, views
from bench.report.model import Row, Section, Stat, Table
from bench.report.records import Runs
from bench.store.summary import Summary

COPIES = {"LaTeX": "latex", "CSV": "csv", "Markdown": "md"}  # what a table is copied as, as `table --format` writes it
STEPS = 10  # shades of a heat map


@dataclass(frozen=True)
class HeatMap:
    """IoU of each class under one label budget: rows are methods, columns are classes and, last, their mean.

    Attributes:
        title: of the budget.
        classes: headings.
        rows: a method's name, and its statistics by class.
    """

    title: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Stat, ...]], ...]


@dataclass(frozen=True)
class Results:
    """The scores under one rule.

    Attributes:
        rule: its name.
        table: as `table --select RULE` makes it.
        views: its sections as text.
        copies: the whole table as text, by the name of its format.
        charts: of its numbers.
        classes: IoU per class.
        classes_csv: the same as text.
    """

    rule: str
    table: Table
    views: tuple[TableView, ...]
    copies: Mapping[str, str]
    charts: tuple[Chart, ...]
    classes: tuple[HeatMap, ...]
    classes_csv: str

    @property
    def missing(self) -> list[str]:
        """Runs that are missing or have stopped, in words."""
        return notes.missing(self.table)


def table(store: Path, runs: Runs, grid: Summary, rule: str) -> Table:
    """Return a grid's table under a rule, as `table` prints it."""
    made = tables.build(runs, grid, rule)
    if grid.tuning is None:
        return made
    from bench.report.tuning.tables import with_trials

    return with_trials(made, store, grid, column=True)


def results(store: Path, runs: Runs, grid: Summary) -> Iterator[Results]:
    """Yield a grid's scores under each rule that its runs know, the grid's own first."""
    headline = table(store, runs, grid, grid.select)
    looks = charts.looks(headline)
    for rule in headline.rules:
        made = headline if rule == grid.select else table(store, runs, grid, rule)
        classes = tables.per_class(runs, grid, rule)
        yield Results(
            rule,
            made,
            tuple(views(made))[: len(made.sections)],
            {name: render(replace(made, headline_only=fmt != "csv"), fmt) for name, fmt in COPIES.items()},
            (charts.ratio(made, looks, runs.named), *charts.sweeps(runs, grid, rule)),
            tuple(_heat(section, rule) for section in classes.sections if _scored(section, rule)),
            render(classes, "csv"),
        )


def convergence(runs: Runs, made: Table, curves: Mapping[str, Curve]) -> Chart:
    """Return the chart of the score over iterations."""
    return charts.convergence(made, charts.looks(made), curves, runs.named)


def _scored(section: Section, rule: str) -> bool:
    return any(cell.stats[rule].n for row in section.rows for cell in row.cells)


def _heat(section: Section, rule: str) -> HeatMap:
    """Return a section of the table per class with its rows as columns."""
    names = [", ".join(column.keys.values()) for column in section.columns]
    rows = zip(names, zip(*(_stats(row, rule) for row in section.rows), strict=True), strict=True)
    found = tuple((name, stats) for name, stats in rows if any(stat.n for stat in stats))
    return HeatMap(section.title, tuple(row.keys["class"] for row in section.rows), found)


def _stats(row: Row, rule: str) -> Sequence[Stat]:
    return [cell.stats[rule] for cell in row.cells]


def shade(value: float | None) -> int | None:
    """Return the shade of an IoU in %, 0 to :data:`STEPS`."""
    return None if value is None else round(min(max(value, 0.0), 100.0) / 100 * STEPS)
