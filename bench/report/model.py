"""What a table is before it has a format: sections of rows and columns whose cells know their numbers and their text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.report.headline import RULES, Rule
from bench.report.rows import STATES

NOTHING = "–"
ABSENT = "absent"
NOT_KNOWN = "n/a"  # under a rule that none of the runs knows

Facts = dict[str, Any]  # what is known beside the numbers, by name, as JSON types: for programs

# States in which a run will not go on by itself: always listed below a table, with the reason.
STOPPED = frozenset({"damaged", "failed", "diverged", "out-of-memory", "timed-out", "cancelled"})


@dataclass(frozen=True)
class RunScore:
    """One planned run as a table sees it.

    Attributes:
        values: the value under each rule, in %; None where the run is not done or the class is absent. A rule is missing
            that the run doesn't know: `selected` where no images are held out.
        step, iterations: optimizer steps done and planned; 0 where unknown.
        evaluation, split: the evaluation protocol in words and the split's SHA-256; empty where the run is not done.
        unknown: the rules under which a run that is done has a value that isn't known.
    """

    id: str
    seed: int
    state: str
    reason: str
    step: float
    iterations: float
    evaluation: str
    split: str
    values: Mapping[str, float | None]
    unknown: frozenset[str] = frozenset()

    @property
    def progress(self) -> int:
        """Steps done, in whole %."""
        return int(100 * self.step / self.iterations) if self.iterations else 0

    @property
    def status(self) -> str:
        """The state with what is known about it: `failed at step 120: ValueError: …`, `running 40 %`, `pending`."""
        if self.state == "running":
            return f"running {self.progress} %"
        at = f" at step {self.step:.0f}" if self.step else ""
        return f"{self.state}{at}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation of the runs that are done, under one rule.

    Attributes:
        values: one per run that is done, in their order; None where the class is absent.
        sd: with n - 1 in the denominator; None below two values.
        text: as shown, e.g. `53.1 ± 0.8 (3)`.
        bold: the highest among the complete cells that it is compared with.
        below: further lines that belong to it, text by label.
        facts: what these lines say, for programs.
    """

    values: tuple[float | None, ...]
    mean: float | None
    sd: float | None
    n: int
    text: str
    bold: bool = False
    below: Mapping[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class TableCell:
    """The runs behind one entry of a table.

    Attributes:
        done: the runs that are done, which are those that count.
        others: the other planned runs; there are none of either where the grid has no such cell.
        stats: one per rule.
        facts: what else is known of it under every rule, for programs.
    """

    done: tuple[RunScore, ...]
    others: tuple[RunScore, ...]
    stats: Mapping[str, Stat]
    facts: Facts = field(default_factory=dict)

    @property
    def planned(self) -> int:
        """The number of planned runs."""
        return len(self.done) + len(self.others)

    @property
    def complete(self) -> bool:
        """Whether there are runs and all of them are done."""
        return bool(self.done) and not self.others

    def unknown(self, rule: str) -> bool:
        """Whether a run that is done has a value that isn't known."""
        return any(rule in run.unknown for run in self.done)

    @property
    def states(self) -> dict[str, int]:
        """The number of runs in each state but `done`, the worst state first."""
        counts = Counter(run.state for run in self.others)
        return {state: counts[state] for state in STATES if state in counts}


@dataclass(frozen=True)
class Column:
    """A column: its coordinates and the title that people read.

    Attributes:
        images, pixels: labelled images and labelled pixels of a label budget, mean over the runs done; None while unknown.
    """

    keys: Mapping[str, str]
    title: str
    images: float | None = None
    pixels: float | None = None


@dataclass(frozen=True)
class Row:
    """A row: its coordinates, in the order of the section's `row_axes`, and one cell per column."""

    keys: Mapping[str, str]
    cells: tuple[TableCell, ...]


@dataclass(frozen=True)
class Section:
    """One table of numbers, for one combination of the coordinates in `keys`."""

    title: str
    keys: Mapping[str, str]
    row_axes: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Unfinished:
    """A planned run that is not done: where it belongs in the table, and why it is missing."""

    where: str
    id: str
    seed: int
    state: str
    status: str
    listed: bool


@dataclass(frozen=True)
class Table:
    """A whole report table.

    Attributes:
        warnings: whether the numbers may be compared at all.
        notes: how to read them.
        facts: what the notes say in numbers, for programs.
        headline_only: leave the other rules out.
    """

    name: str
    title: str
    rule: Rule
    done: int
    planned: int
    sections: tuple[Section, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    unfinished: tuple[Unfinished, ...]
    facts: Facts = field(default_factory=dict)
    headline_only: bool = False

    @property
    def rules(self) -> list[str]:
        """The rules that are shown: the headline, `last` and `best`, and any other under which a run has a score."""
        if self.headline_only:
            return [self.rule.name]
        cells = (found for section in self.sections for row in section.rows for found in row.cells)
        scored = {name for found in cells for name, stat in found.stats.items() if stat.n}
        shown = [name for name in RULES if name in ("last", "best") or name in scored]
        return list(dict.fromkeys([self.rule.name, *shown]))


def _waiting(runs: Sequence[RunScore]) -> str:
    """Return the text of a cell without any value, e.g. `– 2 failed, running 40 %`."""
    by_state = {state: [run for run in runs if run.state == state] for state in STATES}
    parts = []
    for state, found in by_state.items():
        if found:
            name = f"running {sum(run.progress for run in found) // len(found)} %" if state == "running" else state
            parts.append(name if len(found) == 1 else f"{len(found)} {name}")
    return f"{NOTHING} {', '.join(parts)}" if parts else ""


def _stat(values: Sequence[float | None], planned: int, otherwise: str) -> Stat:
    """Return the statistics of one cell under one rule; `otherwise` is its text where there is no value."""
    known = [value for value in values if value is not None]
    n = len(known)
    if not known:
        return Stat(tuple(values), None, None, 0, otherwise)
    mean = math.fsum(known) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1)) if n > 1 else None
    count = f"({n})" if n == planned else f"({n}/{planned})"
    text = f"{mean:.1f} {count}" if sd is None else f"{mean:.1f} ± {sd:.1f} {count}"
    return Stat(tuple(values), mean, sd, n, text)


def cell(runs: Sequence[RunScore]) -> TableCell:
    """Return the cell that stands for these planned runs."""
    done = tuple(run for run in runs if run.state == "done")
    made = TableCell(done, tuple(run for run in runs if run.state != "done"), {})
    stats = {
        name: _stat([run.values.get(name) for run in done], len(runs), _instead(made, name, runs)) for name in RULES
    }
    return replace(made, stats=stats)


def _instead(cell: TableCell, rule: str, runs: Sequence[RunScore]) -> str:
    """Return what a cell says where it has no value under a rule."""
    if not cell.done:
        return _waiting(runs)
    if cell.unknown(rule):
        return NOTHING
    return ABSENT if any(rule in run.values for run in cell.done) else NOT_KNOWN


def best(cells: Sequence[TableCell], rule: str) -> list[bool]:
    """Return which cells hold the highest mean as shown; all of them on a tie.

    Only cells with all of their runs done, and their values known, take part. No cell is the best alone, or with a zero.
    """
    means = [
        -math.inf if mean is None or not cell.complete or cell.unknown(rule) else round(mean, 1)
        for cell, mean in ((cell, cell.stats[rule].mean) for cell in cells)
    ]
    rivals = [mean for mean in means if mean > -math.inf]
    return [len(rivals) > 1 and mean == max(rivals) and mean != 0 for mean in means]
