"""How trials stand, from files written by hand: rungs, ties, divergence, and who is waited for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.store.run import Run, State
from bench.store.summary import TrialSummary, TunedGroup, Tuning
from bench.store.trials import DIVERGED, Outcome, leave_out, outcome

STEPS = [10, 40]


def group(count: int = 4, steps: list[int] | None = None) -> TunedGroup:
    trials = [TrialSummary(number=i, settings={"a": i}, cells=[f"t{i}"]) for i in range(count)]
    return TunedGroup(coords={"method": "m"}, steps=steps or STEPS, trials=trials)


def tuning(rule: str = "last", keep: float | None = 0.5, on: str = "holdout") -> Tuning:
    return Tuning(grid="g", on=on, images=2, rule=rule, trials=4, keep=keep)


def evaluated(store: Path, trial: str, *scores: float, val: float = 1.0, state: State = State.STOPPED) -> None:
    """Write evaluations after every ten steps; after four of them the trial is done."""
    run = Run(store / trial)
    run.path.mkdir(parents=True, exist_ok=True)
    rows = [{"step": 10 * i, "eval": {"miou": val}, "holdout": {"miou": s}} for i, s in enumerate(scores, 1)]
    run.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    if len(scores) == 4:
        records = {"last": scores[-1], "selected": max(scores), "best": scores[0]}
        run.result.write_text(json.dumps({k: {"miou": val, "holdout_miou": v} for k, v in records.items()}))
        state = State.DONE
    run.write_state(state)


def look(store: Path, how: Tuning | None = None, of: TunedGroup | None = None) -> Outcome:
    return outcome(store, how or tuning(), of or group())


def test_rung_by_rung(tmp_path: Path) -> None:
    assert look(tmp_path).todo == [(f"t{i}", 10) for i in range(4)]
    for trial, score in zip("0123", (30.0, 50.0, 20.0, 40.0), strict=True):
        evaluated(tmp_path, f"t{trial}", score)
    half = look(tmp_path)
    assert half.todo == [("t1", None), ("t3", None)] and half.chosen is None and half.missing == [1, 3]
    assert [one.stopped for one in half.standings] == [0, None, 0, None]
    evaluated(tmp_path, "t1", 50, 60, 70, 41)
    evaluated(tmp_path, "t3", 40, 40, 40, 42)
    done = look(tmp_path)
    assert (done.chosen, done.todo, done.missing, done.compared) == (3, [], [], 4)
    assert [one.number for one in done.ranking()] == [3, 1, 0, 2]
    assert look(tmp_path, tuning("selected")).chosen == 1


def test_ties_go_to_the_earlier_trial(tmp_path: Path) -> None:
    for i in range(4):
        evaluated(tmp_path, f"t{i}", 10, 20, 30, 33.3)
    assert look(tmp_path).chosen == 0
    assert [one.stopped for one in look(tmp_path).standings] == [None, None, 0, 0]


def test_the_holdout_alone_chooses(tmp_path: Path) -> None:
    """Val would choose otherwise; only a grid that says so looks at it."""
    for i, (held, val) in enumerate([(10.0, 90.0), (40.0, 20.0), (30.0, 10.0), (20.0, 5.0)]):
        evaluated(tmp_path, f"t{i}", held, held, held, held, val=val)
    assert look(tmp_path).chosen == 1
    assert look(tmp_path, tuning(on="val-as-in-the-papers")).chosen == 0


def test_a_trial_that_diverged_is_never_chosen_and_never_waited_for(tmp_path: Path) -> None:
    evaluated(tmp_path, "t0", 99, state=State.DIVERGED)
    for i in (1, 2, 3):
        evaluated(tmp_path, f"t{i}", *[10.0 * i] * 4)
    found = look(tmp_path, of=group(steps=[20, 40]))
    assert found.standings[0].scores[0] == DIVERGED and found.chosen == 3
    for i in range(4):
        evaluated(tmp_path, f"t{i}", 1, state=State.DIVERGED)
        Run(tmp_path / f"t{i}").result.unlink(missing_ok=True)
    none = look(tmp_path, tuning(keep=None), group(steps=[40]))
    assert none.chosen is None and none.missing == [] and none.todo == []


def test_a_score_of_zero_is_a_score(tmp_path: Path) -> None:
    evaluated(tmp_path, "t0", 0, 0, 0, 0)
    evaluated(tmp_path, "t1", 1, state=State.DIVERGED)
    assert look(tmp_path, tuning(keep=None), group(2, [40])).chosen == 0


@pytest.mark.parametrize("state", [State.FAILED, State.RUNNING, State.PREEMPTED])
def test_unfinished_trials_are_waited_for_until_they_are_left_out(tmp_path: Path, state: State) -> None:
    for i in (0, 1, 3):
        evaluated(tmp_path, f"t{i}", *[10.0 + i] * 4)
    evaluated(tmp_path, "t2", 50, 60, state=state)
    how, of = tuning(keep=None), group(steps=[40])
    assert look(tmp_path, how, of).missing == [2] and look(tmp_path, how, of).todo == [("t2", None)]
    leave_out(tmp_path, how, of, [2])
    found = look(tmp_path, how, of)
    assert (found.chosen, found.compared, found.standings[2].left_out) == (3, 3, True)
    evaluated(tmp_path, "t2", 50, 60, 70, 80)  # too late: what was chosen stays chosen
    assert look(tmp_path, how, of).chosen == 3


def test_several_seeds_count_with_their_mean(tmp_path: Path) -> None:
    trials = [TrialSummary(number=i, cells=[f"t{i}", f"u{i}"]) for i in range(2)]
    of = TunedGroup(coords={}, steps=[40], trials=trials)
    for cell, score in (("t0", 50.0), ("u0", 10.0), ("t1", 35.0)):
        evaluated(tmp_path, cell, *[score] * 4)
    assert look(tmp_path, tuning(keep=None), of).todo == [("u1", None)]
    evaluated(tmp_path, "u1", *[35.0] * 4)
    found = look(tmp_path, tuning(keep=None), of)
    assert [one.final for one in found.standings] == [30.0, 35.0] and found.chosen == 1


def test_damaged_files_are_unfinished_trials(tmp_path: Path) -> None:
    for i in range(4):
        evaluated(tmp_path, f"t{i}", *[10.0] * 4)
    Run(tmp_path / "t1").result.write_text("{")
    Run(tmp_path / "t2").result.write_text("[]")
    assert look(tmp_path, tuning(keep=None), group(steps=[40])).missing == [1, 2]
