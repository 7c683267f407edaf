"""The state of a grid, from the files of its runs. No torch here."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from typing_extensions import NotRequired, TypedDict  # typing has NotRequired from Python 3.11 on

from bench.errors import Damaged
from bench.files import read_json
from bench.spec.deviations import Deviation
from bench.spec.identities import changed
from bench.store import clock
from bench.store.contents import changes_between
from bench.store.liveness import current_state
from bench.store.results import Checked
from bench.store.run import Run, State, StateFacts
from bench.store.summary import CellSummary, Coords, Summary

SILENT = 60.0  # seconds without a heartbeat, which comes every two, after which the pace of a cell isn't known any more


class StaleRow(TypedDict):
    """A run of the grid that its spec no longer contains; `reason` is what has changed since."""

    id: str
    coords: Coords
    state: str
    reason: NotRequired[str]


class StatusRow(StateFacts):
    """The state of a cell: what planning says of it, what its run recorded, and Slurm's view where a job has it.

    `step` is the number of optimizer steps done, `it_per_s` iterations per second (None where a cell that runs has given
    no sign of life for long), `silent_seconds` the time since that by the clock of the store, `miou` of the last
    evaluation in %.
    :func:`slurm.view.add_view` adds `job`, `slurm` and `in_queue`.
    """

    id: str
    slug: str
    order: int
    coords: Coords
    iterations: int
    facts: NotRequired[dict[str, str]]
    deviations: NotRequired[list[str]]
    step: int
    silent_seconds: NotRequired[float]
    job: NotRequired[str | None]
    slurm: NotRequired[str | None]
    in_queue: NotRequired[bool | None]


class GridStatus(TypedDict):
    """The states of a grid's cells, in grid order.

    `progress` is the share of all iterations that are done, `eta_seconds` None while nothing runs; `absent` says why the
    data of a dataset can't be used, so that its cells are the store's runs. The last five are added by
    :func:`slurm.view.add_view`.
    """

    grid: str
    store: str
    totals: dict[str, int]
    cells: list[StatusRow]
    stale: list[StaleRow]
    progress: float
    eta_seconds: float | None
    absent: NotRequired[dict[str, str]]
    contradictions: NotRequired[list[str]]
    slurm_error: NotRequired[str | None]
    held: NotRequired[list[str]]
    bad_nodes: NotRequired[dict[str, str]]
    next_round: NotRequired[list[str]]


def grid_status(store: Path, summary: Summary) -> GridStatus:
    """Return the state of each cell of a grid, totals, and runs of the grid that its spec no longer contains."""
    checked = Checked(store)
    rows = [_row(store, cell, checked) for cell in [*summary.trials, *summary.cells]]
    checked.keep()
    stale = stale_runs(store, summary)
    status = _with(cast(GridStatus, {"grid": summary.name, "store": str(store)}), rows, stale)
    if absent := summary.absent:
        status["absent"] = absent
    return status


def narrowed(status: GridStatus, rows: list[StatusRow]) -> GridStatus:
    """Return the status of some of a grid's cells, without runs that it no longer contains."""
    return _with(status, rows, [])


def _with(status: GridStatus, rows: list[StatusRow], stale: list[StaleRow]) -> GridStatus:
    """Return a status with these cells and what is known of them together."""
    found = status.copy()
    found["totals"], found["cells"], found["stale"] = totals(rows, stale), rows, stale
    found["progress"] = sum(r["step"] for r in rows) / max(sum(r["iterations"] for r in rows), 1)
    found["eta_seconds"] = _eta(rows)
    return found


def _row(store: Path, cell: CellSummary, checked: Checked) -> StatusRow:
    run = Run(store / cell.id)
    state: dict[str, Any] = dict(current_state(run, checked.check))
    if state["state"] == State.RUNNING.value:
        with contextlib.suppress(FileNotFoundError):  # it is just being replaced
            state["silent_seconds"] = max(clock.age(run.state, store), 0.0)
            if state["silent_seconds"] > SILENT:
                state["it_per_s"] = None
    iterations = cell.iterations or 0
    done = iterations if state["state"] == State.DONE.value else int(state.get("step") or 0)
    planned: dict[str, Any] = {"id": cell.id, "slug": cell.slug, "order": cell.order, "coords": cell.coords}
    more = {"facts": cell.facts, "deviations": cell.deviations}
    known = {key: value for key, value in more.items() if value is not None}
    return cast(StatusRow, {**state, "step": done, **planned, "iterations": iterations, **known})


def totals(cells: Iterable[StatusRow], stale: Iterable[StaleRow]) -> dict[str, int]:
    """Return how many rows are in each state."""
    return dict(Counter([*(row["state"] for row in cells), *(row["state"] for row in stale)]))


def _eta(rows: Sequence[StatusRow]) -> float | None:
    """Estimate seconds left: iterations to go, at the present rate of all running cells together."""
    rate = sum(r.get("it_per_s") or 0 for r in rows if r["state"] == State.RUNNING.value)
    open_states = {State.PENDING.value, State.QUEUED.value, State.RUNNING.value, State.PREEMPTED.value}
    left = sum(r["iterations"] - r["step"] for r in rows if r["state"] in open_states)
    return left / rate if rate else None


def stale_runs(store: Path, summary: Summary) -> list[StaleRow]:
    """Return runs of this grid that are no longer in it: the spec, the data or a version of the code has moved since."""
    every = [*summary.trials, *summary.cells]
    planned, by_slug = {cell.id for cell in every}, dict[str, list[CellSummary]]()
    for cell in every:
        by_slug.setdefault(cell.slug, []).append(cell)
    stale: list[StaleRow] = []
    for name in sorted(_directories(store)):
        slug = name.rpartition("-")[0]
        if name in planned or slug not in by_slug:
            continue
        try:
            known = read_json(store / name / "cell.json", dict) or {}
        except (Damaged, OSError):
            continue
        coords = known.get("coords")
        if known.get("grid") == summary.name and isinstance(coords, dict):
            reason = _why_stale(store, known, summary, by_slug[slug])
            row: StaleRow = {"id": name, "coords": coords, "state": State.STALE.value}
            stale.append({**row, "reason": reason} if reason else row)
    return stale


def _why_stale(store: Path, known: Mapping[str, Any], summary: Summary, cells: Sequence[CellSummary]) -> str:
    """Return what has changed since a run, compared with the planned cell that differs least from it."""
    then = known.get("identity")
    if not isinstance(then, Mapping) or not all(cell.pieces for cell in cells):
        return ""
    found = [(changed(then, summary.identity(cell)), cell) for cell in cells]
    words, cell = min(found, key=lambda one: len(one[0]))
    data = str(known.get("data_sha256") or "")
    if sets := _sets_that_explain(words, summary.deviations or ()):
        return f"it lacks this call's --set {', '.join(sets)}"
    if "the data" not in words:
        return f"changed since: {', '.join(words)}" if words else ""
    words.remove("the data")
    # What is labelled follows from the data.
    others = [word for word in words if word != "the label split"]
    what = (
        changes_between(store, data, cell.data_sha256)
        if data
        else "it is from before data were part of a run's identity"
    )
    return f"the data changed: {what}" + (f"; changed since: {', '.join(others)}" if others else "")


def _sets_that_explain(words: Sequence[str], deviations: Sequence[Deviation]) -> list[str]:
    """Return this call's ``--set`` values where they, and what follows from them, are all that tells a run from a cell."""
    keys = {deviation.key: deviation.value for deviation in deviations}

    def set_here(word: str) -> bool:
        changed_key = word.split(" ")[0]
        return any(f"{changed_key}.".startswith(f"{key}.") or key.startswith(f"{changed_key}.") for key in keys)

    rest = [word for word in words if word != "the label split"]
    return [f"{key}={value}" for key, value in keys.items()] if rest and all(map(set_here, rest)) else []


def _directories(store: Path) -> list[str]:
    try:
        with os.scandir(store) as entries:
            return [e.name for e in entries if not e.name.startswith(".")]
    except FileNotFoundError:
        return []
