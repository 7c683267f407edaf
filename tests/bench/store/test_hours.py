"""Hours of attempts: worked out by hand, and of a run that was stopped and killed for real."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bench.store.hours import Spent, attempts_of, before, grid_hours, spent, total
from bench.store.run import Run, State


def epoch(clock: str) -> float:
    return time.mktime(time.strptime(f"2026-11-01 {clock}", "%Y-%m-%d %H:%M:%S"))


def attempt(clock: str, past: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    begun = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(epoch(clock)))
    return {"time": begun, "cores": 2, "device": "A100", "before": past, **more}


def end(state: str, clock: str, first: int | None, step: int) -> dict[str, Any]:
    return {"state": state, "time": epoch(clock), "from_step": first, "step": step, "attempt": 1}


def test_what_is_lost_is_what_no_later_attempt_went_on_from() -> None:
    """100 steps in 10 minutes, 20 of them after the checkpoint; 50 steps more that a power cut undid; then the rest."""
    attempts = [
        attempt("10:00:00"),
        attempt("10:20:00", end("preempted", "10:10:00", 0, 100)),
        attempt("11:00:00", end("running", "10:30:00", 80, 130)),
    ]
    found = spent(attempts, end("done", "11:20:00", 80, 400))
    assert (found.cells, found.attempts, found.unknown) == (1, 3, 0)
    assert (found.seconds, found.core_seconds, found.gpu_seconds) == (2400, 4800, 2400)
    assert found.lost == pytest.approx({"preemption": 120, "failure": 600})


def test_a_checkpoint_that_was_damaged_later_undoes_what_came_before_it() -> None:
    attempts = [attempt("10:00:00"), attempt("10:10:00", end("preempted", "10:10:00", 0, 100), device="cpu")]
    found = spent(attempts, end("done", "10:20:00", 0, 200))
    assert (found.lost["preemption"], found.gpu_seconds) == (600, 600)


def test_attempts_without_steps_are_lost_and_those_without_an_end_are_counted() -> None:
    attempts = [attempt("10:00:00"), attempt("10:05:00", end("failed", "10:01:00", None, 0))]
    found = spent(attempts, end("failed", "10:06:00", 0, 7))
    assert (found.seconds, found.lost) == (120, {"preemption": 0, "failure": 60})
    old = [{**one, "before": None} for one in attempts]  # of an earlier version
    assert (spent(old, end("done", "10:06:00", None, 7)).unknown, spent([], {}).seconds) == (1, 0)


def test_an_attempt_notes_the_one_before_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "cell")
    run.path.mkdir()
    assert before(run.last_state()) is None
    run.write_state(State.PREEMPTED, attempt=1, step=3, from_step=0, it_per_s=2.0)
    noted = before(run.last_state())
    assert noted is not None and {**noted, "time": 0} == {
        "state": "preempted", "time": 0, "step": 3, "from_step": 0, "attempt": 1
    }  # fmt: skip


def test_a_grid_is_summed_by_method_and_state(tmp_path: Path) -> None:
    rows: list[Any] = []
    for number, state in enumerate((State.DONE, State.DONE, State.FAILED, State.PENDING)):
        run = Run(tmp_path / str(number))
        run.path.mkdir()
        if state is not State.PENDING:
            run.record_attempt(attempt("10:00:00"))
            run.write_state(state, time=epoch("10:30:00"), attempt=1, step=5, from_step=0)
        rows.append(
            {"id": run.id, "state": state.value, "coords": {"method": "reco"}, "attempt": len(attempts_of(run))}
        )
    found = grid_hours(tmp_path, rows)
    assert {key: (one.cells, one.seconds) for key, one in found.items()} == {
        ("reco", "done"): (2, 3600), ("reco", "failed"): (1, 1800)
    }  # fmt: skip
    assert total(found.values()).as_hours() | {"lost_to_preemption": 0.0} == {
        **Spent(3, 3).as_hours(), "hours": 1.5, "core_hours": 3.0, "gpu_hours": 1.5
    }  # fmt: skip
