"""A grid's runs with the scores of another predictor than their own: the student beside the teacher, the mean of two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError, unknown
from bench.report.headline import RULES
from bench.report.records import Record, Runs
from bench.store.results import read_result
from bench.store.run import Run

_NONE = "it has no score of a predictor `{}`: `evaluation.predictors: all` asks for it before a run begins"


def predicted(runs: Runs, store: Path, name: str) -> tuple[Runs, list[str]]:
    """Return the runs with the scores of one of their predictors, and what to say of those that don't have it.

    `best` and `selected` are still the steps at which the run's own predictor was best. A run without such a score counts as
    pending.

    Args:
        runs: from :func:`bench.report.records.load`.
        store: the run store.
        name: of the predictor, as a method calls it.

    Raises:
        BenchError: with the names that there are, where no run has this one.
    """
    records, names, missing = [], set[str](), []
    for record in runs.records:
        if record.run.state == "done":
            by_rule = _scores(store, record)
            names |= {other for scores in by_rule.values() for other in scores}
            found = {rule: scores[name] for rule, scores in by_rule.items() if name in scores}
            missing += [] if found else [record.run.id]
            record = _with(record, found, name)
        records.append(record)
    if missing and len(missing) == sum(record.run.state == "done" for record in runs.records):
        raise unknown("predictor", name, names)
    said = (
        [f"{len(missing)} finished runs have no predictor `{name}` that was scored: {missing[0]} …"] if missing else []
    )
    return Runs(records, runs.axes), said


def _scores(store: Path, record: Record) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return by rule the scores of a run by name of the predictor."""
    with suppress(BenchError):
        evaluations = {rule: (read_result(Run(store / record.run.id)) or {}).get(rule) or {} for rule in RULES}
        return {
            rule: {one["predictor"]: one, **one["predictors"]}
            for rule, one in evaluations.items()
            if "predictor" in one
        }
    return {}


def _with(record: Record, found: Mapping[str, Mapping[str, Any]], name: str) -> Record:
    run = replace(record.run, values={rule: score["miou"] for rule, score in found.items()})
    if found:
        run = replace(run, evaluation=f"{run.evaluation}; predicted by the {name}")
    else:
        run = replace(run, state="pending", reason=_NONE.format(name), step=0.0, values=dict.fromkeys(RULES))
    return replace(record, run=run, iou={rule: json.dumps(score["iou"]) for rule, score in found.items()})
