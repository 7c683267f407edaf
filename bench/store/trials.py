"""How the trials of a tuned grid stand, and which setting is chosen: a function of the store's files alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.files import read_json, short_name, write_json
from bench.patience import read_bytes
from bench.spec.cell import canonical
from bench.store.run import Run, State
from bench.store.summary import TrialSummary, TunedGroup, Tuning

DIVERGED = -math.inf  # the score of a trial whose loss became infinite: it is never chosen


@dataclass(frozen=True)
class Standing:
    """A trial.

    Attributes:
        number: of the trial.
        scores: mIoU in % at each rung, mean over the trials' seeds; None where it isn't known, ``DIVERGED`` for ever after.
        stopped: the rung, from 0, after which it was stopped; None where it wasn't.
        left_out: it wasn't finished, and a person chose among the others.
    """

    number: int
    scores: tuple[float | None, ...]
    stopped: int | None = None
    left_out: bool = False

    @property
    def final(self) -> float | None:
        """The score at its end; None where it has none."""
        return self.scores[-1]


@dataclass(frozen=True)
class Outcome:
    """The trials of one method and protocol.

    Attributes:
        standings: by number.
        todo: cells that are to run now, each with the step at which it stops, None for its end.
        chosen: number of the trial whose setting is taken; None while trials are open.
        missing: numbers of trials that a choice waits for.
    """

    standings: list[Standing]
    todo: list[tuple[str, int | None]] = field(default_factory=list)
    chosen: int | None = None
    missing: list[int] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """Number of trials with a score at their end, or that a rung stopped: those behind a choice."""
        return sum(not one.left_out and (one.final is not None or one.stopped is not None) for one in self.standings)

    def ranking(self) -> list[Standing]:
        """Return the trials with a score, best first: those that came further before others; ties to the earlier trial."""
        known = [one for one in self.standings if one.scores[0] is not None]
        return sorted(known, key=lambda one: (-_reached(one), -_last(one), one.number))


def _reached(one: Standing) -> int:
    return sum(score is not None and score != DIVERGED for score in one.scores)


def _last(one: Standing) -> float:
    return next((score for score in reversed(one.scores) if score is not None), DIVERGED)


def outcome(store: Path, tuning: Tuning, group: TunedGroup) -> Outcome:
    """Return how a group's trials stand.

    At each rung the trials that are left are ranked by their score there, and the best ``keep`` of them, rounded up, go on;
    at the end the best is chosen. Ties go to the earlier trial.

    Args:
        store: the run store.
        tuning: how the grid is tuned.
        group: one method and protocol.
    """
    left_out = _left_out(store, tuning.grid).get(canonical(group.coords), [])
    alive = [trial for trial in group.trials if trial.number not in left_out]
    scores: dict[int, list[float | None]] = {trial.number: [] for trial in group.trials}
    stopped: dict[int, int] = {}
    todo: list[tuple[str, int | None]] = []
    chosen, missing = None, list[int]()
    for rung, step in enumerate(group.steps):
        last = rung == len(group.steps) - 1
        for trial in alive:
            scores[trial.number].append(_mean([_score(store, cell, step, last, tuning) for cell in trial.cells]))
        missing = [trial.number for trial in alive if scores[trial.number][-1] is None]
        if missing:
            todo = _todo(store, [t for t in alive if t.number in missing], step, last, tuning)
            break
        ranked = sorted(alive, key=lambda trial: (-(scores[trial.number][-1] or DIVERGED), trial.number))
        if last:
            chosen = _best(ranked, scores)
        else:
            going_on = math.ceil((tuning.keep or 1) * len(alive))
            stopped |= {trial.number: rung for trial in ranked[going_on:]}
            alive = sorted(ranked[:going_on], key=lambda trial: trial.number)
    width = len(group.steps)
    standings = [
        Standing(
            trial.number,
            tuple([*scores[trial.number], *[None] * width][:width]),
            stopped.get(trial.number),
            trial.number in left_out,
        )
        for trial in group.trials
    ]
    return Outcome(standings, todo, chosen, missing)


def _best(ranked: Sequence[TrialSummary], scores: dict[int, list[float | None]]) -> int | None:
    """Return the first trial of a ranking, unless all of them diverged."""
    return next((trial.number for trial in ranked if scores[trial.number][-1] != DIVERGED), None)


def _todo(
    store: Path, trials: Sequence[TrialSummary], step: int, last: bool, tuning: Tuning
) -> list[tuple[str, int | None]]:
    cells = dict.fromkeys(cell for trial in trials for cell in trial.cells)  # two trials may have one setting
    open_ = [cell for cell in cells if _score(store, cell, step, last, tuning) is None]
    return [(cell, None if last else step) for cell in open_]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return DIVERGED if DIVERGED in known else math.fsum(known) / len(known)


def _score(store: Path, cell: str, step: int, last: bool, tuning: Tuning) -> float | None:
    """Return a trial's score after a step; None where it isn't known."""
    run = Run(store / cell)
    try:
        if last and run.is_done():
            found: Any = read_json(run.result)
            return _number(found[tuning.rule], tuning)
        rows = _evaluations(run, step)
        if not last and rows and rows[-1]["step"] == step:
            values = [_row(row, tuning) for row in rows]
            return values[-1] if tuning.rule == "last" else max(values)
        if run.read_state()["state"] == State.DIVERGED.value:
            return DIVERGED
    except (KeyError, TypeError, ValueError, OSError):
        return None
    return None


def _number(record: dict[str, Any], tuning: Tuning) -> float:
    return float(record["holdout_miou" if tuning.on == "holdout" else "miou"])


def _row(row: dict[str, Any], tuning: Tuning) -> float:
    return float(row["holdout" if tuning.on == "holdout" else "eval"]["miou"])


def _evaluations(run: Run, step: int) -> list[dict[str, Any]]:
    """Return the evaluations up to a step, as metrics.jsonl has them."""
    try:
        lines = read_bytes(run.metrics).decode().split("\n")
    except FileNotFoundError:
        return []
    rows = [json.loads(line) for line in lines if '"eval"' in line]
    return [row for row in rows if row["step"] <= step]


# -- trials that a person leaves out ---------------------------------------------------------------------------------------


def _file(store: Path, grid: str) -> Path:
    return store / ".tuning" / f"{short_name(grid)}.json"


def _left_out(store: Path, grid: str) -> dict[str, list[int]]:
    try:
        found: Any = read_json(_file(store, grid))
        return {str(key): [int(n) for n in numbers] for key, numbers in dict(found["left_out"]).items()}
    except (KeyError, TypeError, ValueError, OSError):
        return {}


def leave_out(store: Path, tuning: Tuning, group: TunedGroup, numbers: Sequence[int]) -> None:
    """Note in the store that a choice doesn't wait for some trials; they stay left out."""
    known = _left_out(store, tuning.grid)
    key = canonical(group.coords)
    path = _file(store, tuning.grid)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"left_out": {**known, key: sorted({*known.get(key, []), *numbers})}})
