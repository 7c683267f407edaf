"""How many of a grid's runs were computed with what: the values of each fact of :mod:`bench.report.environment`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bench.report.environment import fact, parsed
from bench.report.records import Record

Tally = dict[str, Counter[str]]  # column of a fact -> value -> runs
_OF_DATASETS = "data_sha256"  # a grid may have several datasets


def tally(records: Iterable[Record]) -> Tally:
    """Count in how many runs each fact has each value; a run whose attempts differ counts once for each value."""
    found: Tally = {}
    for record in records:
        for column, values in parsed(record.environment).items():
            if column != _OF_DATASETS:
                found.setdefault(column, Counter()).update(set(values))
    return found


def mixed(found: Tally) -> list[str]:
    """Return the facts that have more than one value, in words: `torch 2.9.0 (3 runs), 2.8.0 (1 run)`."""
    return [f"{fact(column).label} {counted_values(values)}" for column, values in found.items() if len(values) > 1]


def counted_values(values: Counter[str]) -> str:
    """Return values with the number of their runs, the most frequent first."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} ({count} run{'s' if count > 1 else ''})" for value, count in ordered)
