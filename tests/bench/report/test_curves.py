"""Evaluations of runs: sorted, and torn lines left out."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.report.curves import read_curves, read_logged
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
