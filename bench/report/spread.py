"""How much a grid's runs spread, and what differences so many of them can settle: `plan --power`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.report.records import Record, Runs, group, is_seed, pick
from bench.report.statistics.power import ALPHA, PRIOR_SD, WANTED, power, runs_needed


@dataclass(frozen=True)
class Spread:
    """Standard deviations in mIoU, pooled over cells, with their degrees of freedom; the prior where there are none.

    Attributes:
        runs, runs_df: of the runs of a cell.
        pairs, pairs_df: of the differences between two methods' runs of the same place and seed.
    """

    runs: float
    runs_df: int
    pairs: float
    pairs_df: int


def _pooled(groups: Sequence[Sequence[float]]) -> tuple[float | None, int]:
    """Return the pooled standard deviation of groups, and its degrees of freedom."""
    squares, df = 0.0, 0
    for values in groups:
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values)
            df += len(values) - 1
    return (math.sqrt(squares / df) if df and squares > 0 else None), df


def _paired(cells: Sequence[Sequence[Record]], rule: str, seeds: Sequence[str]) -> list[list[float]]:
    found = []
    for one, other in combinations(cells, 2):
        by_seed = {pick(record, seeds): record.run.values[rule] for record in other}
        pairs = [(record.run.values[rule], by_seed.get(pick(record, seeds))) for record in one]
        found.append([a - b for a, b in pairs if a is not None and b is not None])
    return found


def measured(runs: Runs, rule: str) -> Spread:
    """Return the spread of a grid's finished runs under a rule; the prior where fewer than two of a cell are done."""
    done = [r for r in runs.records if r.run.state == "done" and r.run.values.get(rule) is not None]
    cell_axes = [axis for axis in runs.axes if not is_seed(axis)]
    seeds = [axis for axis in runs.axes if is_seed(axis)]
    cells = group(done, lambda record: pick(record, cell_axes))
    place_axes = [axis for axis in cell_axes if axis != "method"]
    places = group(cells.values(), lambda records: pick(records[0], place_axes))
    of_runs, df = _pooled([[float(r.run.values[rule] or 0.0) for r in records] for records in cells.values()])
    of_pairs, pairs_df = _pooled([values for at in places.values() for values in _paired(at, rule, seeds)])
    sd = of_runs or PRIOR_SD
    # Without pairs: as if a seed moved both methods not at all alike.
    return Spread(sd, df if of_runs else 0, of_pairs or math.sqrt(2) * sd, pairs_df if of_pairs else 0)


def _runs(count: int | None, what: str) -> str:
    return f"more {what} than can be run" if count is None else f"{count} {what}"


def _source(df: int, what: str) -> str:
    return f"measured, {df} degrees of freedom" if df else what


def explain(runs: Runs, rule: str, difference: float) -> Iterator[str]:
    """Yield how many runs a difference in mIoU takes, from what spread, and whether the grid has them.

    Args:
        runs: a grid's.
        rule: its headline rule.
        difference: to be settled, in mIoU, above 0.
    """
    found = measured(runs, rule)
    unpaired, paired = (runs_needed(difference, sd, both) for sd, both in ((found.runs, False), (found.pairs, True)))
    yield (
        f"To settle a difference of {difference:g} mIoU (two-sided t test at {100 * ALPHA:.0f} %, "
        f"power {100 * WANTED:.0f} %): "
        f"{_runs(unpaired, 'runs per arm')}, or {_runs(paired, 'pairs')} of the same splits and seeds."
    )
    prior = f"a prior: {PRIOR_SD:.2f} is the pooled one of public logs"
    yield (
        f"From a standard deviation of {found.runs:.2f} over runs ({_source(found.runs_df, prior)}) and {found.pairs:.2f} "
        f"over paired differences ({_source(found.pairs_df, 'from that of runs, as if pairing gained nothing')})."
    )
    cell_axes = [axis for axis in runs.axes if not is_seed(axis)]
    counts = [len(records) for records in group(runs.records, lambda record: pick(record, cell_axes)).values()]
    fewest = min(counts)
    if paired is None or fewest < paired:
        if fewest < 2:
            yield "Warning: this grid has cells with a single run, which settle nothing."
            return
        have = power(difference, found.pairs, fewest, paired=True)
        yield (
            f"Warning: this grid can't settle it: with {fewest} runs per cell its power is {100 * have:.0f} % paired, "
            f"{100 * power(difference, found.runs, fewest, paired=False):.0f} % unpaired."
        )
