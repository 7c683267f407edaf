"""Measured beside published: which figure a cell is compared with, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.report import notes
from bench.report.model import Column, Facts, Row, Section, Stat, Table, TableCell
from bench.report.papers.published import PROVENANCE, Figure, Paper, load
from bench.spec.grid import Published
from bench.store.summary import Summary

REPRODUCED, DIFFERS, OTHER_PROTOCOL = "reproduced", "differs", "protocol differs"
NOT_RUN, NOT_PUBLISHED = "not run", "not published"
VERDICTS = (REPRODUCED, DIFFERS, OTHER_PROTOCOL, NOT_RUN, NOT_PUBLISHED)

TOLERANCE = 1.0  # mIoU; what 2 sd is below counts as this
# Deviations that don't make a run another experiment than the paper's: arithmetic, other seeds, when it is evaluated.
_SAME_EXPERIMENT = ("numerics", "seed", "seeds", "evaluation.every", "evaluation.batch_size", "select")
# Where a cell's key and the fact that it sets have different names.
_FACT_OF = {"crop_size": "crop", "mode": "evaluation", "size": "evaluation"}


@dataclass(frozen=True)
class Place:
    """What is published where a cell stands.

    Attributes:
        figure: the one compared with; None where nothing is published.
        others: what else is published there.
        differences: what makes the cell's protocol another one than the figure's, in words.
    """

    figure: Figure | None
    others: tuple[Figure, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True)
class ComparedCell:
    """A planned cell of a table, where it stands in it, and what is published there."""

    section: Section
    row: Row
    column: Column
    cell: TableCell
    place: Place


def tolerance(sd: float | None) -> float:
    """Return the largest difference, in mIoU, that counts as reproduced: 2 sd or 1, whichever is larger."""
    return max(2 * sd, TOLERANCE) if sd is not None else TOLERANCE


def verdict(stat: Stat, place: Place) -> str:
    """Return one of :data:`VERDICTS` for a cell's score under one rule."""
    if place.figure is None:
        return NOT_PUBLISHED
    if stat.mean is None:
        return NOT_RUN
    if place.differences:
        return OTHER_PROTOCOL
    # Rounded, so that a difference of exactly 1.0 isn't lost in the last bit.
    return REPRODUCED if round(abs(stat.mean - place.figure.miou), 6) <= tolerance(stat.sd) else DIFFERS


def _mismatches(figure: Figure, facts: Mapping[str, str], match: Sequence[str]) -> dict[str, str]:
    """Return in which facts a cell is not what the figure says, as words by fact."""
    found = {}
    for name in match:
        said, have = getattr(figure, name), facts.get(name)
        # An evaluation may be given without its size: `sliding`.
        if said is None or have is None or have == str(said) or have.startswith(f"{said} "):
            continue
        found[name] = f"{name} {have}, not {said}"
    return found


class _Grid:
    """What the summary says of a grid's cells and of what they are compared with."""

    def __init__(self, grid: Summary, asked: Published, papers: Sequence[Paper]) -> None:
        self.methods, self.match = asked.methods, asked.match
        self.figures = [figure for paper in papers for figure in paper.figures]
        self.cells = {cell.id: cell for cell in grid.cells}
        self.deviations = {entry.key: notes.changed(entry) for entry in grid.deviations or []}

    def _choose(self, coords: Mapping[str, str], facts: Mapping[str, str]) -> list[tuple[Figure, dict[str, str]]]:
        """Return the figures published for a place, the one to compare with first, each with its mismatches.

        One of the cell's protocol goes before one of another; then the better rank of provenance; then the one whose
        number of runs is known, and larger; then the paper that the grid names first.
        """
        names = self.methods.get(coords["method"], ())
        place = (facts.get("dataset", coords["dataset"]), coords["protocol"], coords["labels"])
        here = [f for f in self.figures if (f.dataset, f.protocol, f.labels) == place and f.method in names]
        found = [(figure, _mismatches(figure, facts, self.match)) for figure in here]
        return sorted(found, key=lambda f: (bool(f[1]), PROVENANCE.index(f[0].provenance), -(f[0].n or 0)))

    def place(self, coords: Mapping[str, str], cell: TableCell) -> Place:
        """Return what is published for a cell."""
        planned = self.cells.get(next(run.id for run in (*cell.done, *cell.others)))
        found = self._choose(coords, (planned.facts if planned else None) or {})
        if not found:
            return Place(None, (), ())
        figure, mismatches = found[0]
        words = [
            self.deviations[key]
            for key in (planned.deviations if planned else None) or []
            if not key.startswith(_SAME_EXPERIMENT) and _fact(key) not in mismatches
        ]
        return Place(figure, tuple(other for other, _ in found[1:]), (*mismatches.values(), *words))


def _fact(key: str) -> str:
    last = key.rsplit(".", maxsplit=1)[-1]
    return _FACT_OF.get(last, last)


def _beside(stat: Stat, place: Place) -> Stat:
    """Return a cell's score with the published figure and the verdict below it."""
    said, figure = verdict(stat, place), place.figure
    difference = None if figure is None or stat.mean is None or said == OTHER_PROTOCOL else stat.mean - figure.miou
    words = said if difference is None else f"{difference:+.1f} {said}".replace("-", "−")
    below = {
        "published": "" if figure is None else f"{figure.text} {figure.provenance}",
        "verdict": words,
    }
    facts = {"difference": difference, "tolerance": None if difference is None else tolerance(stat.sd), "verdict": said}
    return replace(stat, below=below, facts=facts)


def _facts(place: Place) -> Facts:
    """Return what is published for a cell, for programs."""
    figure = place.figure
    names = ("miou", "sd", "n", "provenance", "paper", "source", "note")
    return {
        **{f"published_{name}": None if figure is None else getattr(figure, name) for name in names},
        "protocol_differences": list(place.differences),
        "also_published": [f"{f.text} ({f.paper}, {f.provenance})" for f in place.others],
    }


def _compared(section: Section, known: _Grid) -> tuple[Section, list[ComparedCell]]:
    rows, entries = [], []
    for row in section.rows:
        cells = []
        for column, cell in zip(section.columns, row.cells, strict=True):
            if cell.planned:
                place = known.place({**section.keys, **row.keys, **column.keys}, cell)
                stats = {name: _beside(stat, place) for name, stat in cell.stats.items()}
                cell = replace(cell, stats=stats, facts=_facts(place))
                entries.append(ComparedCell(section, row, column, cell, place))
            cells.append(cell)
        rows.append(replace(row, cells=tuple(cells)))
    return replace(section, rows=tuple(rows)), entries


def beside(table: Table, grid: Summary) -> tuple[Table, list[ComparedCell], list[Paper]]:
    """Return the table with each planned cell beside what is published for it, its cells one by one, and the papers.

    Args:
        table: a grid's main table.
        grid: its summary, which names papers.

    Raises:
        BenchError: if a paper that the grid names isn't there, or its file is wrong.
    """
    if grid.published is None:
        return table, [], []
    papers = load(grid.published.papers)
    known = _Grid(grid, grid.published, papers)
    made = [_compared(section, known) for section in table.sections]
    sections = tuple(section for section, _ in made)
    return replace(table, sections=sections), [entry for _, found in made for entry in found], papers
