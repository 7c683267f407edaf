"""Measured beside published: which figure a cell is compared with, under which selection rule, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.report.model import Column, Facts, Row, Section, Stat, Table, TableCell
from bench.report.papers.equivalence import Comparison, compare
from bench.report.papers.places import RULE_OF, Place, Places
from bench.report.papers.published import Figure, Paper, load
from bench.report.records import Runs
from bench.store.summary import Summary

REPRODUCED, DIFFERS, UNSETTLED = "reproduced", "differs", "not settled"
OTHER_RECIPE, OTHER_PROTOCOL = "recipe differs", "protocol differs"
NOT_RUN, NOT_PUBLISHED = "not run", "not published"
VERDICTS = (REPRODUCED, DIFFERS, UNSETTLED, OTHER_RECIPE, OTHER_PROTOCOL, NOT_RUN, NOT_PUBLISHED)


@dataclass(frozen=True)
class Verdict:
    """What a cell's runs say of the figure published for it.

    Attributes:
        name: one of :data:`VERDICTS`.
        rule: the selection rule under which they were compared.
        comparison: None where nothing was compared.
    """

    name: str
    rule: str
    comparison: Comparison | None = None


@dataclass(frozen=True)
class ComparedCell:
    """A planned cell of a table, where it stands in it, what is published there, and the verdict."""

    section: Section
    row: Row
    column: Column
    cell: TableCell
    place: Place
    verdict: Verdict = field(default=Verdict(NOT_PUBLISHED, ""))


def rule_of(figure: Figure, stats: Mapping[str, Stat], headline: str) -> str:
    """Return the rule under which runs are compared with a figure: the figure's own where it is known and runs have it."""
    rule = RULE_OF.get(figure.selection, headline)
    return rule if rule in stats else headline


def verdict(stats: Mapping[str, Stat], headline: str, place: Place, margin: float) -> Verdict:
    """Return what a cell's scores say of what is published at its place.

    Args:
        stats: the cell's scores per rule.
        headline: the table's rule.
        place: what is published there.
        margin: in mIoU.
    """
    figure = place.figure
    if figure is None:
        return Verdict(NOT_PUBLISHED, headline)
    rule = rule_of(figure, stats, headline)
    values = [value for value in stats[rule].values if value is not None]
    if not values:
        return Verdict(NOT_RUN, rule)
    if place.protocol or place.recipe:
        return Verdict(OTHER_PROTOCOL if place.protocol else OTHER_RECIPE, rule)
    found = compare(values, figure.miou, margin, figure.sd, figure.n)
    return Verdict(REPRODUCED if found.equivalent else DIFFERS if found.differs else UNSETTLED, rule, found)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _lines(found: Verdict, place: Place, headline: str) -> dict[str, str]:
    """Return what stands below a cell's score: the figure, how it was selected, and the verdict."""
    figure, comparison = place.figure, found.comparison
    if figure is None:
        return {"verdict": found.name}
    words = found.name if comparison is None else f"{_signed(comparison.difference)} {found.name}"
    return {
        "published": f"{figure.text} {figure.provenance}",
        "selection": figure.selected,
        "verdict": words if found.rule == headline or comparison is None else f"{found.rule}: {words}",
    }


def _facts(place: Place, found: Verdict) -> Facts:
    """Return what is published for a cell and what its runs say of it, for programs."""
    figure, comparison = place.figure, found.comparison
    names = ("miou", "sd", "n", "provenance", "paper", "source", "address", "selection", "evaluations", "note")
    numbers = ("difference", "low", "high", "p", "margin")
    return {
        **{f"published_{name}": None if figure is None else getattr(figure, name) for name in names},
        "evaluations": place.evaluations,
        "split_family": place.family,
        "protocol_differences": list(place.protocol),
        "recipe_differences": list(place.recipe),
        "also_published": [f.cited for f in place.others],
        "verdict": found.name,
        "verdict_rule": found.rule,
        **{name: None if comparison is None else getattr(comparison, name) for name in numbers},
    }


class _Judge:
    """What a table's cells are held against."""

    def __init__(self, headline: str, margin: float, places: Places) -> None:
        self.headline, self.margin, self.places = headline, margin, places

    def cell(self, section: Section, row: Row, column: Column, cell: TableCell) -> ComparedCell:
        """Return a planned cell with what is published for it below its score under the headline rule."""
        place = self.places.find({**section.keys, **row.keys, **column.keys}, cell)
        found = verdict(cell.stats, self.headline, place, self.margin)
        stat = cell.stats[self.headline]
        stat = replace(stat, below={**_lines(found, place, self.headline), **stat.below})
        cell = replace(cell, stats={**cell.stats, self.headline: stat}, facts={**cell.facts, **_facts(place, found)})
        return ComparedCell(section, row, column, cell, place, found)

    def section(self, section: Section) -> tuple[Section, list[ComparedCell]]:
        """Return a section and its planned cells."""
        rows, entries = [], []
        for row in section.rows:
            cells = []
            for column, cell in zip(section.columns, row.cells, strict=True):
                if cell.planned:
                    entries.append(self.cell(section, row, column, cell))
                    cell = entries[-1].cell
                cells.append(cell)
            rows.append(replace(row, cells=tuple(cells)))
        return replace(section, rows=tuple(rows)), entries


def beside(table: Table, grid: Summary, runs: Runs) -> tuple[Table, list[ComparedCell], list[Paper]]:
    """Return the table with each planned cell beside what is published for it, its cells one by one, and the papers.

    Args:
        table: a grid's main table.
        grid: its summary, which names papers.
        runs: what the table was built from.

    Raises:
        BenchError: if a paper that the grid names isn't there, or its file is wrong.
    """
    if grid.published is None:
        return table, [], []
    papers = load(grid.published.papers)
    headline = table.rule.name
    places = Places(grid, grid.published, papers, runs.store, headline)
    judge = _Judge(headline, grid.published.margin, places)
    made = [judge.section(section) for section in table.sections]
    sections = tuple(section for section, _ in made)
    return replace(table, sections=sections), [entry for _, found in made for entry in found], papers
