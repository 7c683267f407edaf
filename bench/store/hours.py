"""Hours that the cells of a grid took so far, from the files of their attempts: by method and state, and what was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.files import read_jsonl
from bench.store.run import Run, State, StateRecord
from bench.store.status import StatusRow

# What an attempt's last recorded state says of why it ended; `running`: it was killed, or its machine was.
_PREEMPTED = frozenset({State.PREEMPTED.value, State.TIMED_OUT.value, State.STOPPED.value, State.CANCELLED.value})
PREEMPTION, FAILURE = "preemption", "failure"


def before(known: StateRecord) -> dict[str, object] | None:
    """Return what an attempt notes of the one before it, whose state it is about to overwrite; None for a first one."""
    keys = ("state", "time", "step", "from_step", "attempt")
    return {key: known.get(key) for key in keys} if known.get("attempt") else None


@dataclass
class Spent:
    """What attempts took.

    Attributes:
        cells, attempts: their numbers.
        seconds: between an attempt's record and the last word of its process; what comes before, as starting Python, isn't
            counted.
        core_seconds, gpu_seconds: the same, times the cores that the process could use, and of those on a GPU, of
            which cells that run side by side count a part each.
        lost: seconds of work that no later attempt could go on from, by why: `preemption` or `failure`.
        unknown: attempts of which no end is known: those before the last one, made by earlier versions.
    """

    cells: int = 0
    attempts: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0
    gpu_seconds: float = 0.0
    lost: dict[str, float] = field(default_factory=lambda: {PREEMPTION: 0.0, FAILURE: 0.0})
    unknown: int = 0

    def add(self, other: Spent) -> None:
        """Add what others took."""
        self.cells += other.cells
        self.attempts += other.attempts
        self.seconds += other.seconds
        self.core_seconds += other.core_seconds
        self.gpu_seconds += other.gpu_seconds
        self.unknown += other.unknown
        for why, seconds in other.lost.items():
            self.lost[why] += seconds

    def as_hours(self) -> dict[str, float]:
        """Return it for programs, in hours."""
        return {
            "cells": self.cells,
            "attempts": self.attempts,
            "hours": self.seconds / 3600,
            "core_hours": self.core_seconds / 3600,
            "gpu_hours": self.gpu_seconds / 3600,
            **{f"lost_to_{why}": seconds / 3600 for why, seconds in self.lost.items()},
            "attempts_without_end": self.unknown,
        }


def spent(attempts: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> Spent:
    """Return what the attempts at one cell took.

    Of an attempt's steps those are lost that a later attempt had to take again, because it began at an earlier checkpoint;
    so is the time of an attempt that took none. What a failed cell's last checkpoint holds isn't lost: it may go on.

    Args:
        attempts: the lines of attempts.jsonl.
        state: the content of state.json.
    """
    found = Spent(cells=1, attempts=len(attempts))
    ends = [*(row.get("before") for row in attempts[1:]), state][: len(attempts)]
    kept_by: int | None = None  # the earliest step from which any later attempt began
    for row, end in reversed(list(zip(attempts, ends, strict=True))):
        began, ended = _epoch(row.get("time")), None if end is None else end.get("time")
        if began is None or not isinstance(ended, float):
            found.unknown += 1
            continue
        seconds = max(ended - began, 0.0)
        found.seconds += seconds
        found.core_seconds += seconds * int(row.get("cores") or 1)
        gpus = int(row.get("processes") or 1) / int(row.get("side_by_side") or 1)
        found.gpu_seconds += seconds * gpus if row.get("device", "cpu") != "cpu" else 0.0
        first, reached = end.get("from_step"), int(end.get("step") or 0)
        if end is not state:
            share = _lost(first, reached, kept_by)
            found.lost[PREEMPTION if end["state"] in _PREEMPTED else FAILURE] += share * seconds
        if isinstance(first, int):
            kept_by = first if kept_by is None else min(first, kept_by)
    return found


def _lost(first: int | None, reached: int, kept_by: int | None) -> float:
    """Return the share of an attempt's steps from `first` to `reached` that nothing went on from."""
    if first is None or reached <= first:
        return 1.0
    kept = reached if kept_by is None else min(max(kept_by, first), reached)
    return 1 - (kept - first) / (reached - first)


def _epoch(value: object) -> float | None:
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None


def attempts_of(run: Run) -> list[Mapping[str, Any]]:
    """Return the lines of a run's attempts; none where they are missing or damaged."""
    try:
        return [row for row in read_jsonl(run.attempts) if isinstance(row, dict)]
    except (ValueError, OSError):
        return []


def grid_hours(store: Path, rows: Iterable[StatusRow]) -> dict[tuple[str, str], Spent]:
    """Return what the cells of a grid took, by method and state.

    Args:
        store: the run store.
        rows: of the grid's status.
    """
    found: dict[tuple[str, str], Spent] = {}
    for row in rows:
        if row.get("attempt"):
            run = Run(store / row["id"])
            key = str(row["coords"].get("method", "")), row["state"]
            found.setdefault(key, Spent()).add(spent(attempts_of(run), run.last_state()))
    return dict(sorted(found.items()))


def total(parts: Iterable[Spent]) -> Spent:
    """Return the sum."""
    whole = Spent()
    for part in parts:
        whole.add(part)
    return whole
