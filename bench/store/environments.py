"""What a grid's runs ran on and with: the values of each fact over their attempts, and how many runs have each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.files import read_jsonl
from bench.store.run import Run

# Facts of an attempt that can move a result and are no part of an id; packages come beside them.
FACTS = (
    *("version", "numerics_version", "git_sha", "git_dirty", "python", "cuda", "cudnn", "device", "threads", "compile"),
    *("deterministic_algorithms", "deterministic_warn_only", "cudnn_benchmark", "tf32", "tf32_convolutions"),
)
Tally = dict[str, Counter[str]]  # fact -> value as text -> runs


def attempts(run: Run) -> list[dict[str, Any]]:
    """Return the recorded attempts at a run, in order; none where they are missing or damaged."""
    try:
        return [row for row in read_jsonl(run.attempts) if isinstance(row, dict)]
    except (ValueError, OSError):
        return []


def facts_of(attempt: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of an attempt as text, packages by their names; what wasn't recorded is left out."""
    found = {name: attempt.get(name) for name in FACTS}
    if attempt.get("device") == "cpu":
        found["device"] = attempt.get("cpu")
    packages = attempt.get("packages")
    found |= packages if isinstance(packages, Mapping) else {}
    return {str(name): str(value) for name, value in found.items() if value is not None}


def tally(store: Path, ids: Iterable[str]) -> Tally:
    """Count in how many runs each fact has each value; a run whose attempts differ counts once for each value.

    Args:
        store: the run store.
        ids: names of runs.
    """
    found: Tally = {}
    for name in ids:
        known = {pair for attempt in attempts(Run(store / name)) for pair in facts_of(attempt).items()}
        for fact, value in sorted(known):
            found.setdefault(fact, Counter())[value] += 1
    return found


def mixed(found: Tally) -> list[str]:
    """Return the facts that have more than one value, in words: `torch 2.9.0 (3 runs), 2.8.0 (1 run)`."""
    return [f"{fact} {counted_values(values)}" for fact, values in found.items() if len(values) > 1]


def counted_values(values: Counter[str]) -> str:
    """Return values with the number of their runs, the most frequent first."""
    return ", ".join(f"{value} ({count} run{'s' if count > 1 else ''})" for value, count in values.most_common())
