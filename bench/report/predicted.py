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
    records, names, missing, done = list[Record](), set[str](), list[str](), 0
    for record in runs.records:
        found = record
        if record.run.state == "done":
            by_rule = _scores(store, record)
            names |= {other for scores in by_rule.values() for other in scores}
            scored = {rule: scores[name] for rule, scores in by_rule.items() if name in scores}
            found = _with(record, scored, name) if scored else record.without_score(_NONE.format(name))
            missing += [] if scored else [record.run.id]
            done += 1
        records.append(found)
    if missing and len(missing) == done:
        raise unknown("predictor", name, names)
    said = f"{len(missing)} of {done} finished runs have no score of a predictor `{name}`, the first is {{}}"
    return Runs(records, runs.axes), [said.format(one) for one in missing[:1]]


def _scores(store: Path, record: Record) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return by rule the scores of a run by name of the predictor."""
    result: Mapping[str, Any] = {}
    with suppress(BenchError):
        result = read_result(Run(store / record.run.id)) or {}
    evaluations = {rule: one for rule in RULES if "predictor" in (one := result.get(rule) or {})}
    return {rule: {one["predictor"]: one, **one["predictors"]} for rule, one in evaluations.items()}


def _with(record: Record, found: Mapping[str, Mapping[str, Any]], name: str) -> Record:
    values = {rule: score["miou"] for rule, score in found.items()}
    run = replace(record.run, values=values, evaluation=f"{record.run.evaluation}; predicted by the {name}")
    return replace(record, run=run, iou={rule: json.dumps(score["iou"]) for rule, score in found.items()})
