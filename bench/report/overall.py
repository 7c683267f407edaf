"""Methods over all columns of a table at once: interquartile means and probabilities of improvement."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.errors import BenchError
from bench.report.comparison import COVERAGE
from bench.report.model import Facts
from bench.report.records import Runs, group, is_seed, pick
from bench.report.statistics.aggregate import improvement, iqm


def _columns(runs: Runs, rule: str) -> tuple[list[str], list[dict[str, list[float]]]]:
    """Return the methods, and per place at which each has a finished run the scores by method."""
    methods = list(dict.fromkeys(str(record.coords["method"]) for record in runs.records))
    apart = [axis for axis in runs.axes if axis != "method" and not is_seed(axis)]
    columns = []
    for found in group(runs.records, lambda record: pick(record, apart)).values():
        scores: dict[str, list[float]] = {method: [] for method in methods}
        for record in found:
            value = record.run.values.get(rule)
            if record.run.state == "done" and value is not None:
                scores[str(record.coords["method"])].append(value)
        if all(scores.values()):
            columns.append(scores)
    return methods, columns


def overall(runs: Runs, rule: str) -> tuple[list[str], Facts]:
    """Return in lines, and for programs, what methods score over all label budgets at which each has finished runs.

    Args:
        runs: a grid's.
        rule: the headline rule.

    Raises:
        BenchError: if there is no such label budget, or a single method.
    """
    methods, columns = _columns(runs, rule)
    if len(methods) < 2 or not columns:
        raise BenchError("--aggregate: needs two methods, and a label budget at which all of them have a finished run")
    means = {method: iqm([column[method] for column in columns]) for method in methods}
    best = max(methods, key=lambda method: means[method][0])
    better = {
        method: improvement([(column[best], column[method]) for column in columns])
        for method in methods
        if method != best
    }
    facts: Facts = {
        "columns": len(columns),
        "interquartile_mean": {method: [value, *around] for method, (value, around) in means.items()},
        "best": best,
        "improvement": {method: [value, *around] for method, (value, around) in better.items()},
    }
    return list(_lines(len(columns), facts)), {"aggregate": facts}


def _lines(count: int, facts: Facts) -> Iterator[str]:
    said = "; ".join(
        f"{m} {v:.1f} ({low:.1f} to {high:.1f})" for m, (v, low, high) in facts["interquartile_mean"].items()
    )
    yield (
        f"Over {count} label budgets, interquartile mean of all runs and 95 % interval (stratified bootstrap; simulated "
        f"coverage {_coverage()}): {said}."
    )
    above = "; ".join(f"{m} {v:.2f} ({low:.2f} to {high:.2f})" for m, (v, low, high) in facts["improvement"].items())
    yield f"Probability that a run of {facts['best']} is above one of the others, and 95 % interval: {above}."


def _coverage() -> str:
    try:
        known = json.loads(COVERAGE.read_text("utf-8"))["aggregates"]
        cases = [known[f"interquartile mean, 4 columns × {n} runs"] for n in (3, 5, 10)]
    except (OSError, ValueError, KeyError):
        return "unknown"
    return ", ".join(f"{100 * value:.0f} %" for value in cases) + " with 3, 5, 10 runs a column"
