"""A grid's runs with the scores of another evaluation than their own: another split, another protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.errors import BenchError
from bench.files import read_json
from bench.report.headline import RULES
from bench.report.records import Record, Runs
from bench.report.rows import one_line
from bench.spec.sections import OtherEvaluation
from bench.store.evaluations import StoredEvaluation, find, read
from bench.store.run import Run


def evaluated(runs: Runs, store: Path, asked: OtherEvaluation, rule: str, options: str) -> tuple[Runs, list[str]]:
    """Return the runs with the scores of an evaluation, and what to say of those that don't have it.

    A run that is done but has no such evaluation of the headline's weights counts as pending, and its reason is the command
    that makes it.

    Args:
        runs: from :func:`bench.report.records.load`.
        store: the run store.
        asked: the evaluation.
        rule: the headline rule, whose weights must have it.
        options: of the verb ``evaluate`` that ask for it.
    """
    command = f"python bench.py evaluate {{}} {options}" + (f" --select {rule}" if rule != "last" else "")
    records, missing = [], []
    for record in runs.records:
        found = _with_scores(record, store, asked) if record.run.state == "done" else record
        if found.run.state == "done" and rule not in found.run.values:
            missing.append(record.run.id)
            reason = found.run.reason or f"not evaluated so: {command.format(record.run.id)}"
            found = found.without_score(reason)
        records.append(found)
    return Runs(records, runs.axes), _said(missing, sum(r.run.state == "done" for r in runs.records), command)


def _said(missing: Sequence[str], done: int, command: str) -> list[str]:
    if not missing:
        return []
    return [
        f"{len(missing)} of {done} finished runs have no such evaluation; make each with its id, or all with the grid's "
        f"name: {command.format(missing[0])}"
    ]


def _with_scores(record: Record, store: Path, asked: OtherEvaluation) -> Record:
    """Return a finished run's record with an evaluation's scores, under the rules for which it has been made."""
    run, found = Run(store / record.run.id), dict[str, StoredEvaluation]()
    try:
        for rule in RULES:
            path = find(run, asked, rule)
            if path is None:
                return record
            entry = read(path)
            if entry is not None and _is_of(run, entry):
                found[rule] = entry
    except BenchError as error:
        return replace(record, run=replace(record.run, values={}, reason=one_line(str(error))))
    some = next(iter(found.values()), None)
    values = {rule: entry.miou for rule, entry in found.items()}
    return replace(
        record,
        run=replace(record.run, values=values, evaluation=one_line(some.evaluation) if some else ""),
        classes=json.dumps(some.classes) if some else record.classes,
        ignored=tuple(some.ignore_classes) if some else (),
        iou={rule: json.dumps(entry.iou) for rule, entry in found.items()},
    )


def _is_of(run: Run, entry: StoredEvaluation) -> bool:
    """Tell whether an evaluation is of the weights that a run has now, not of those before it was made anew."""
    result = read_json(run.result) or {}
    if entry.weights == "last" and result.get("weights_sha256") != entry.weights_sha256:
        return False
    return bool(result.get(entry.weights, {}).get("step") == entry.step)
