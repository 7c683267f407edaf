"""Two methods compared pair by pair: on the same split, with the same seed, how much higher does one score?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, unknown
from bench.report import notes
from bench.report.headline import RULES
from bench.report.model import RunScore, Section, Stat, Table, TableCell
from bench.report.records import Record, Runs, group, pick
from bench.report.tables import budgets
from bench.seeds import rng
from bench.store.summary import Summary

LEVEL = 0.95
RESAMPLES = 10_000
EXACT_UP_TO = 8  # pairs: 6,435 different resamples
LEAST_PAIRS = 3
_METHOD = (
    f"95 % interval: of the mean difference, by the percentile bootstrap over pairs; up to {EXACT_UP_TO} pairs over all "
    f"resamples, beyond that over {RESAMPLES:,} drawn with a fixed seed."
)
_SETTLED = (
    f"Settled: at least {LEAST_PAIRS} pairs, and 0 outside both this interval and Student's t interval. The bootstrap knows "
    "nothing beyond the pairs it has: with three, its interval covers the truth about three times in four, not 95 % of the "
    "time. The t interval, which takes differences to be normal, is wide enough for few."
)


@dataclass(frozen=True)
class Difference:
    """What pairs say about a difference.

    Attributes:
        n: pairs.
        mean: of their differences; None without pairs.
        bootstrap, student: 95 % intervals of the mean; None below two pairs.
    """

    n: int
    mean: float | None
    bootstrap: tuple[float, float] | None
    student: tuple[float, float] | None

    @property
    def settled(self) -> bool:
        """Whether so many pairs tell which is better, by the rule that the table states."""
        intervals = (self.bootstrap, self.student)
        return self.n >= LEAST_PAIRS and all(i is not None and (i[0] > 0 or i[1] < 0) for i in intervals)


def _resampled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of resamples with replacement, and the probability of each; both (R,)."""
    n = len(values)
    if n > EXACT_UP_TO:
        picked = rng(0, "paired bootstrap", n).integers(0, n, size=(RESAMPLES, n))
        return values[picked].mean(axis=1), np.full(RESAMPLES, 1 / RESAMPLES)
    picked = np.array(list(combinations_with_replacement(range(n), n)))
    counts = (picked[:, :, None] == np.arange(n)).sum(axis=1)
    orders = [math.factorial(n) // math.prod(map(math.factorial, row)) for row in counts.tolist()]
    return counts @ values / n, np.array(orders) / n**n


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    """Return the smallest value whose share, with all smaller ones, is at least `level`."""
    order = np.argsort(values)
    # The last bit of a sum must not decide whether a share is reached.
    position = int(np.searchsorted(np.cumsum(weights[order]) + 1e-12, level))
    return float(values[order][min(position, len(values) - 1)])


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """Return the percentile bootstrap's 95 % interval of the mean of at least one value.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Up to :data:`EXACT_UP_TO` values, over
    all resamples, each counted as often as it occurs; it is then as symmetric as the values are.
    """
    means, weights = _resampled(np.asarray(values, dtype=np.float64))
    tail = (1 - LEVEL) / 2
    return _quantile(means, weights, tail), -_quantile(-means, weights, tail)


def student(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean of at least two values."""
    from scipy.special import stdtrit

    n, mean = len(values), float(np.mean(values))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def difference(values: Sequence[float]) -> Difference:
    """Return what differences of pairs say."""
    mean = float(np.mean(values)) if values else None
    if len(values) < 2:
        return Difference(len(values), mean, None, None)
    return Difference(len(values), mean, bootstrap(values), student(values))


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
            pairs.append(replace(a, coords={**a.coords, "method": f"{one} − {other}"}, run=run))
    return pairs, warnings


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _span(interval: tuple[float, float]) -> str:
    return f"{_signed(interval[0])} to {_signed(interval[1])}"


def _stat(stat: Stat) -> Stat:
    """Return a difference's statistics with its sign, its interval and whether it is settled."""
    found = difference([value for value in stat.values if value is not None])
    text = stat.text if stat.mean is None else _signed(stat.mean) + stat.text[len(f"{stat.mean:.1f}") :]
    below = {
        "95 % interval": "" if found.bootstrap is None else _span(found.bootstrap),
        "settled": "yes" if found.settled else "no",
    }
    facts = {"bootstrap": found.bootstrap, "student": found.student, "settled": found.settled}
    return replace(stat, text=text, bold=False, below=below, facts=facts)


def sentence(found: Difference, one: str, other: str) -> str:
    """Return in plain words what the pairs say, e.g. `reco is 2.1 mIoU above classmix (…): 3 seeds settle it`."""
    if found.mean is None:
        return "no pair is done yet"
    side = "above" if found.mean >= 0 else "below"
    start = f"{one} is {abs(found.mean):.1f} mIoU {side} {other}"
    if found.bootstrap is None or found.student is None:
        return f"{start}: a single pair settles nothing"
    start += f" (95 % interval {_span(found.bootstrap)}; Student's t {_span(found.student)})"
    return f"{start}: {found.n} seeds {'settle' if found.settled else 'do not settle'} it"


def _sentences(section: Section, rule: str, one: str, other: str, several: bool) -> Iterator[str]:
    for row in section.rows:
        for column, cell in zip(section.columns, row.cells, strict=True):
            if cell.planned:
                rest = {name: value for name, value in row.keys.items() if name != "method"}
                place = notes.name({**(section.keys if several else {}), **rest, "labels": column.keys["labels"]})
                known = [value for value in cell.stats[rule].values if value is not None]
                yield f"{place[0].upper()}{place[1:]}: {sentence(difference(known), one, other)}."


def _finished(cell: TableCell) -> TableCell:
    return replace(cell, stats={rule: _stat(stat) for rule, stat in cell.stats.items()})


def _section(section: Section) -> Section:
    rows = tuple(replace(row, cells=tuple(map(_finished, row.cells))) for row in section.rows)
    return replace(section, title=section.title.replace("mIoU in %", "difference of mIoU"), rows=rows)


def build(runs: Runs, grid: Summary, one: str, other: str, select: str | None = None) -> Table:
    """Return the table of `one` − `other`: per label budget the mean difference over pairs, its interval, and a verdict.

    A pair is two runs of the same dataset, network, label budget and seed, with the same coordinates on every other axis,
    on the same labelled images (the split's hash).

    Args:
        runs: from :func:`bench.report.records.load`.
        grid: the grid's summary.
        one: a method as the table names it.
        other: another one.
        select: overrides the grid's selection rule.

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
    made = budgets(Runs(pairs, runs.axes), grid, select, "")
    sections = tuple(map(_section, made.sections))
    below = [line for s in sections for line in _sentences(s, made.rule.name, one, other, len(sections) > 1)]
    return replace(
        made,
        title=f"{made.title}: {one} − {other}, paired",
        sections=sections,
        warnings=(*made.warnings, *warnings),
        notes=(*below, *made.notes, _METHOD, _SETTLED),
        facts={**made.facts, "compared": [one, other]},
    )
