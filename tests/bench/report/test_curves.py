"""Evaluations of runs: sorted, and torn lines left out."""

from __future__ import annotations

from bench.report.curves import read_curves
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
