"""Two methods compared pair by pair: on the same split, with the same seed, how much higher does one score?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.errors import BenchError, unknown
from bench.report import notes
from bench.report.comparison import Difference, corrected, difference, explanations, lines, sentence, signed
from bench.report.headline import RULES
from bench.report.model import RunScore, Section, Stat, Table, TableCell
from bench.report.records import Record, Runs, group, is_seed, pick
from bench.report.statistics.crossed import units
from bench.report.statistics.stored import between
from bench.report.tables import budgets
from bench.spec.grid import Published
from bench.store.summary import Summary

MARGIN = Published.model_fields["margin"].default  # mIoU, where the grid states none


def _minus(one: RunScore, other: RunScore, name: str) -> RunScore:
    """Return a pair as a run whose score is the difference; it is done when both are."""
    both = (one, other)
    last = next((run for run in both if run.state != "done"), one)
    known = [rule for rule in RULES if rule in one.values and rule in other.values]
    values = {rule: None if None in (a := one.values[rule], b := other.values[rule]) else a - b for rule in known}  # type: ignore[operator]
    return replace(last, id=f"{one.id} − {other.id}", values=values, reason=last.reason and f"{name}: {last.reason}")


def _apart(one: RunScore, other: RunScore) -> str:
    """Return why two runs of the same place can't be compared; an empty string if they can, or aren't both done."""
    if not one.state == other.state == "done":
        return ""
    if one.split != other.split:
        return f"the splits differ ({one.split[:8]}, {other.split[:8]})"
    return "" if one.evaluation == other.evaluation else f"evaluated differently ({one.evaluation}; {other.evaluation})"


def _pairs(runs: Runs, one: str, other: str) -> tuple[list[Record], list[str]]:
    """Return the pairs as records of a method called `A − B`, and warnings of those that can't be paired."""
    pairs, warnings = [], []
    apart = [name for name in runs.axes if name != "method"]
    for place, found in group(runs.records, lambda record: pick(record, apart)).items():
        sides = [[record for record in found if record.coords["method"] == name] for name in (one, other)]
        if not all(sides):
            continue
        a, b = (side[0] for side in sides)
        where = notes.name(dict(zip(apart, place, strict=True)))
        if max(map(len, sides)) > 1:
            warnings.append(f"Not compared at {where}: several runs there have the same coordinates.")
        elif why := _apart(a.run, b.run):
            warnings.append(f"Not compared at {where}: {why}.")
        else:
            run = _minus(a.run, b.run, one if a.run.state != "done" else other)
            pairs.append(replace(a, coords={**a.coords, "method": f"{one} − {other}"}, run=run, sides=(a, b)))
    return pairs, warnings


class _Comparison:
    """The differences of a table's cells, each under each rule; those of one rule are corrected for their number."""

    def __init__(self, table: Table, pairs: Sequence[Record], runs: Runs, margin: float) -> None:
        self._pairs = {record.run.id: record for record in pairs}
        self._seeds = [axis for axis in runs.axes if is_seed(axis)]
        self._store = runs.store if runs.score == "mIoU" else None
        self.margin = margin
        cells = [cell for section in table.sections for row in section.rows for cell in row.cells if cell.planned]
        self._found = {
            rule: corrected({_key(c): self._one(c, rule) for c in cells if rule in c.stats}) for rule in RULES
        }

    def _one(self, cell: TableCell, rule: str) -> Difference:
        found = [(self._pairs[run.id], value) for run in cell.done if (value := run.values.get(rule)) is not None]
        values = [value for _, value in found]
        levels = {axis: [str(pair.coords[axis]) for pair, _ in found] for axis in self._seeds}
        made, ids = units(values, levels), [(a.run.id, b.run.id) for a, b in (pair.sides for pair, _ in found)]
        over_images = between(self._store, ids, rule, made.members) if self._store else None
        return difference(made.means(values), self.margin, over_images, made.axis)

    def of(self, cell: TableCell, rule: str) -> Difference:
        """Return what a cell's pairs say under a rule."""
        return self._found[rule][_key(cell)]

    def all(self, rule: str) -> list[Difference]:
        """Return the differences of all cells under a rule."""
        return list(self._found[rule].values())

    def stat(self, cell: TableCell, rule: str) -> Stat:
        """Return a difference's statistics with its sign, and what the pairs say below it."""
        stat, found = cell.stats[rule], self.of(cell, rule)
        text = stat.text if stat.mean is None else signed(stat.mean) + stat.text[len(f"{stat.mean:.1f}") :]
        return replace(stat, text=text, bold=False, below=lines(found), facts=found.facts)

    def section(self, section: Section, score: str) -> Section:
        """Return a section whose cells say what their pairs say."""

        def finished(cell: TableCell) -> TableCell:
            return replace(cell, stats={rule: self.stat(cell, rule) for rule in cell.stats}) if cell.planned else cell

        rows = tuple(replace(row, cells=tuple(map(finished, row.cells))) for row in section.rows)
        return replace(section, title=section.title.replace(f"{score} in %", f"difference of {score}"), rows=rows)


def _key(cell: TableCell) -> str:
    return " ".join(run.id for run in (*cell.done, *cell.others))


def _sentences(
    section: Section, rule: str, names: tuple[str, str], found: _Comparison, score: str, several: bool
) -> Iterator[str]:
    for row in section.rows:
        for column, cell in zip(section.columns, row.cells, strict=True):
            if cell.planned:
                rest = {name: value for name, value in row.keys.items() if name != "method"}
                place = notes.name({**(section.keys if several else {}), **rest, "labels": column.keys["labels"]})
                yield f"{place[0].upper()}{place[1:]}: {sentence(found.of(cell, rule), *names, score)}."


def build(
    runs: Runs, grid: Summary, one: str, other: str, select: str | None = None, margin: float | None = None
) -> Table:
    """Return the table of `one` − `other`: per label budget the mean difference over pairs, its interval, and a verdict.

    A pair is two runs of the same dataset, network, label budget and seed, with the same coordinates on every other axis,
    on the same labelled images (the split's hash).

    Args:
        runs: from :func:`bench.report.records.load`.
        grid: the grid's summary.
        one: a method as the table names it.
        other: another one.
        select: overrides the grid's selection rule.
        margin: the largest difference that counts as none; by default that of the grid's verdicts, 1.0 mIoU.

    Raises:
        BenchError: if the grid has no such method, or has nothing to pair.
    """
    methods = list(dict.fromkeys(str(record.coords["method"]) for record in runs.records))
    for name in (one, other):
        if name not in methods:
            raise unknown("method of this grid", name, methods)
    if one == other:
        raise BenchError(f"--compare {one} {other}: a method can't be compared with itself")
    pairs, warnings = _pairs(runs, one, other)
    if not pairs:
        raise BenchError(f"--compare {one} {other}: no two of their runs share label budget, seed and split")
    made = budgets(replace(runs, records=pairs), grid, select, "")
    found = _Comparison(made, pairs, runs, margin or (grid.published.margin if grid.published else MARGIN))
    rule, several = made.rule.name, len(made.sections) > 1
    below = [line for s in made.sections for line in _sentences(s, rule, (one, other), found, runs.named, several)]
    return replace(
        made,
        title=f"{made.title}: {one} − {other}, paired",
        sections=tuple(found.section(section, runs.named) for section in made.sections),
        warnings=(*made.warnings, *warnings),
        notes=(*below, *made.notes, *explanations(found.all(rule), runs.named)),
        facts={**made.facts, "compared": [one, other], "margin": found.margin},
    )
