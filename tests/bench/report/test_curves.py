"""Evaluations of runs: sorted, and torn lines left out."""

from __future__ import annotations

import json

import pytest

from bench.errors import BenchError
from bench.report.curves import read_all, read_curves, read_logged
from bench.store.run import Run
from tests.bench.report.conftest import Store


def test_curves_are_sorted_and_torn_lines_left_out(store: Store) -> None:
    run, other = store.plan("a", "20", 0), store.plan("a", "20", 1)
    store.evaluations(run, {200: 30.0, 100: 20.0})
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 200, "eval": {"miou": 31.0}}\n{"step": 300, "eval": {"mio')
    found = read_curves(store.path, [run.name, other.name])
    assert found == {run.name: {100: 20.0, 200: 31.0}}
    assert list(found[run.name]) == [100, 200]
    assert read_curves(store.path, []) == {}


def test_losses_and_what_else_is_logged_are_curves_too(store: Store) -> None:
    run, other = store.plan("a", "20", 0), store.plan("a", "20", 1)
    lines = [
        '{"step": 10, "losses": {"supervised": 2.0}, "logged": {"confident": 0.25}}',
        '{"step": 20, "eval": {"miou": 3.0}}',
    ]
    for one in (run, other):
        one.mkdir(parents=True)
    (run / "metrics.jsonl").write_text(
        "\n".join([*lines, '{"step": 20, "losses": {"supervised": 1.0}}', '{"step": 30, "los'])
    )
    (other / "metrics.jsonl").write_text(lines[1])
    ids = [run.name, other.name, "none"]
    assert read_logged(store.path, ids, "supervised") == {run.name: {10: 2.0, 20: 1.0}}
    assert read_logged(store.path, ids, "confident") == {run.name: {10: 0.25}}
    with pytest.raises(
        BenchError, match="'confidnt' \\(did you mean 'confident'\\?\\); allowed: confident, supervised"
    ):
        read_logged(store.path, ids, "confidnt")


def test_all_that_a_run_logged_is_read_by_kind_and_quantity(store: Store) -> None:
    run = store.plan("reco", "20", 0)
    run.mkdir(parents=True)
    lines = [
        {"step": 100, "losses": {"supervised": 1.0, "reco": 2.0}, "logged": {"confident share": 0.5}},
        {"step": 100, "eval": {"miou": 3.0, "iou": []}},
        {"step": 50, "losses": {"supervised": 4.0}},
        {"step": 60, "losses": ["no", "mapping"]},
        {"step": 70, "losses": {"supervised": "no number"}},
    ]
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 110, "losses": {"su'
    )
    assert read_all(Run(run)) == {
        "losses": {"supervised": {50: 4.0, 100: 1.0}, "reco": {100: 2.0}},
        "logged": {"confident share": {100: 0.5}},
    }
