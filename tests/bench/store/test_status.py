"""A grid's status: the keys that programs read, and what counts as stale."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from bench.cli.states import _facts
from bench.store.run import Run, State
from bench.store.status import SILENT, grid_status
from bench.store.summary import CellSummary, Summary


def summary(*cells: CellSummary) -> Summary:
    return Summary(name="small", cells=list(cells))


def cell(name: str, **facts: object) -> CellSummary:
    return CellSummary.model_validate(
        {"id": f"{name}-0123456789", "slug": name, "coords": {"method": name, "seed": 0}, "iterations": 10, **facts}
    )


def test_a_row_holds_what_was_planned_and_what_was_recorded(tmp_path: Path) -> None:
    run = Run(tmp_path / "a-0123456789")
    run.path.mkdir()
    run.write_state(State.PREEMPTED, step=4, iterations=8, attempt=2, it_per_s=2.0, miou=31.5, reason="SIGTERM")
    found = grid_status(tmp_path, summary(cell("a"), cell("b", facts={"crop": "64x64"}, deviations=["optimizer.lr"])))
    assert found.keys() == {"grid", "store", "totals", "cells", "stale", "progress", "eta_seconds"}
    first, second = found["cells"]
    planned = {"id", "slug", "order", "coords", "iterations", "state", "step"}
    assert first.keys() == planned | {"reason", "attempt", "it_per_s", "miou", "time"}
    assert second.keys() == planned | {"facts", "deviations"}  # as JSON has them: only where planning said so
    assert (first["state"], first["step"], first["iterations"]) == ("preempted", 4, 10)  # planned iterations win
    assert (found["totals"], found["progress"]) == ({"preempted": 1, "pending": 1}, 0.2)
    json.dumps(found)


def test_a_process_that_is_silent_has_no_pace_by_the_clock_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process still has its lock. Its machine's clock, which may be wrong, says nothing of how long that is."""
    run = Run(tmp_path / "a-0123456789")
    with run.claim():
        with monkeypatch.context() as wrong:
            wrong.setattr(time, "time", lambda: 1e9)
            run.write_state(State.RUNNING, step=4, it_per_s=78.5, attempt=1)
        (alive,) = grid_status(tmp_path, summary(cell("a")))["cells"]
        assert alive["silent_seconds"] < SILENT and alive["it_per_s"] == 78.5
        written = time.time() - 200
        os.utime(run.state, (written, written))
        found = grid_status(tmp_path, summary(cell("a")))
    (silent,) = found["cells"]
    assert silent["state"] == "running" and silent["it_per_s"] is None
    assert silent["silent_seconds"] == pytest.approx(200, abs=30)
    assert found["eta_seconds"] is None
    assert (_facts(silent, ())["it/s"], _facts(silent, ())["ETA"]) == ("", "")
    assert "no heartbeat for 3 min" in _facts(silent, ())["reason"]
    assert "no heartbeat" not in _facts(alive, ())["reason"] and _facts(alive, ())["it/s"] == "78.5"


def test_a_run_of_this_grid_that_is_no_longer_planned_is_stale(tmp_path: Path) -> None:
    for name, grid in (("a-ffffffffff", "small"), ("a-eeeeeeeeee", "another"), ("c-ffffffffff", "small")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cell.json").write_text(json.dumps({"grid": grid, "coords": {"method": "a", "seed": 0}}))
    (tmp_path / "a-dddddddddd").mkdir()
    (tmp_path / "a-dddddddddd" / "cell.json").write_text("[1]")
    found = grid_status(tmp_path, summary(cell("a")))
    assert found["stale"] == [{"id": "a-ffffffffff", "coords": {"method": "a", "seed": 0}, "state": "stale"}]
    assert found["totals"] == {"pending": 1, "stale": 1}
