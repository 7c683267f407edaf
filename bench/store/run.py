"""A run: the directory of one cell, its typed state, and the claim that makes sure one process works on it."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from typing_extensions import NotRequired, TypedDict

from bench.aside import set_aside
from bench.errors import Damaged
from bench.files import append_jsonl, read_json, write_json
from bench.locks import is_locked, lock
from bench.patience import LARGE, exists, open_file, read_bytes
from bench.store.record import wrong_in


class State(str, Enum):
    """The states of a run. Only a worker that holds the claim writes one; `stale` and `pending` are found, not written."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    PREEMPTED = "preempted"
    STOPPED = "stopped"  # a trial at a rung, which goes on only if it is among the best there
    DONE = "done"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    FAILED = "failed"
    DAMAGED = "damaged"  # its result or its weights can't be read; found, not written
    CANCELLED = "cancelled"
    STALE = "stale"


class StateFacts(TypedDict):
    """What is recorded with a state.

    Attributes:
        state: one of :class:`State`.
        reason: why, in one line.
        attempt: number of the attempt, from 1.
        it_per_s: optimizer steps per second.
        miou: of the last evaluation, in percent.
        host, node, pid: where the process runs; `node` is Slurm's name.
        from_step: the step at which the last attempt began; None before it has got so far.
        time: of the record (seconds since the epoch); of the last one before that where only Slurm saw the end.
        gone: the state says running, but its process isn't there.
        submission, array, index: the place in a submission to a cluster.
        moves: how often it was submitted again by itself, after a failure that wasn't its fault.
        at_once: it failed before its first step, through no fault of the input.
        fault: whose fault a failure is, one of ``bench.store.failures.Fault``.
        hardware: models of the devices that it was trained on, in order.
        codes: hashes of the code that trained it, in order.
        device_lost: nothing worked on the device any more in the process that failed.
        set_aside: the damaged files that the run has gone on without, a line each.
        unkept: the weights that a finished run doesn't keep, and by which option or verb; a file that is there is kept.
        damaged: the files that whoever goes on with the run will set aside, a line each; found, not written.
    """

    state: str
    reason: NotRequired[str | None]
    attempt: NotRequired[int]
    it_per_s: NotRequired[float | None]
    miou: NotRequired[float | None]
    host: NotRequired[str]
    node: NotRequired[str | None]
    pid: NotRequired[int]
    time: NotRequired[float]
    gone: NotRequired[bool]
    submission: NotRequired[str]
    array: NotRequired[int]
    index: NotRequired[int]
    from_step: NotRequired[int | None]
    moves: NotRequired[int]
    at_once: NotRequired[bool | None]
    fault: NotRequired[str | None]
    device_lost: NotRequired[bool | None]
    hardware: NotRequired[list[str]]
    codes: NotRequired[list[str]]
    set_aside: NotRequired[list[str]]
    unkept: NotRequired[dict[str, str]]
    damaged: NotRequired[list[str]]


class StateRecord(StateFacts):
    """The content of state.json, brought up to date or not; `step` is the number of optimizer steps done."""

    step: NotRequired[int]


class Owner(TypedDict, total=False):
    """Who claimed a run: the content of its lock file; `since` in seconds since the epoch."""

    host: str
    pid: int
    since: float


@dataclass(frozen=True)
class Run:
    """Names every file of a run. The directory's name is the cell's id."""

    path: Path

    @property
    def id(self) -> str:
        """The cell's id."""
        return self.path.name

    @property
    def cell(self) -> Path:
        """The resolved cell, its coordinates and the grid that first asked for it."""
        return self.path / "cell.json"

    @property
    def state(self) -> Path:
        """Typed state, step, attempt, reason."""
        return self.path / "state.json"

    @property
    def attempts(self) -> Path:
        """One line per attempt: environment, versions, hardware, git state, effective determinism."""
        return self.path / "attempts.jsonl"

    @property
    def metrics(self) -> Path:
        """Losses, learning rate and evaluations by step: deterministic, append-only."""
        return self.path / "metrics.jsonl"

    @property
    def timing(self) -> Path:
        """Seconds per step, images per second, memory: what differs between two identical runs."""
        return self.path / "timing.jsonl"

    @property
    def checkpoint(self) -> Path:
        """All that is needed to go on, written every so often."""
        return self.path / "checkpoint.pt"

    @property
    def result(self) -> Path:
        """The deterministic outcome, written last: a run is done when this file is there."""
        return self.path / "result.json"

    @property
    def evaluations(self) -> Path:
        """Folder of further evaluations of the weights, see :mod:`bench.store.evaluations`."""
        return self.path / "evaluations"

    @property
    def cost(self) -> Path:
        """Seconds, images per second, peak memory."""
        return self.path / "cost.json"

    @property
    def memory(self) -> Path:
        """Memory of an early step, by phase."""
        return self.path / "memory.json"

    @property
    def rounding(self) -> Path:
        """What decides how sums are rounded, see :mod:`bench.store.rounding`."""
        return self.path / "rounding.json"

    @property
    def log(self) -> Path:
        """What the worker printed."""
        return self.path / "log.txt"

    @property
    def ticket(self) -> Path:
        """Which submission to a cluster the run belongs to, see :mod:`bench.store.ticket`."""
        return self.path / "ticket.json"

    @property
    def lock(self) -> Path:
        """Held (flock) by the process that works on the run."""
        return self.path / "lock"

    def weights(self, which: str) -> Path:
        """The predictor's weights at the `last`, `best` or `selected` evaluation."""
        return self.path / f"weights-{which}.pt"

    def is_done(self) -> bool:
        """Tell whether the run has its result, which is written last; `bench.store.results` tells whether it is sound."""
        return exists(self.result)

    def read_state(self) -> StateRecord:
        """Return the state as recorded: ``{"state": "pending"}`` where nothing is.

        Raises:
            Damaged: if the file isn't what :meth:`write_state` writes.
        """
        state = read_json(self.state, dict)
        if state is None:
            return {"state": State.PENDING.value}
        if why := wrong_in(state, _STATES):
            raise Damaged(self.state, why)
        return cast(StateRecord, state)

    def last_state(self) -> StateRecord:
        """Return what :meth:`read_state` does, and ``pending`` where the file is damaged: for who writes it anew."""
        try:
            return self.read_state()
        except Damaged:
            return {"state": State.PENDING.value}

    def write_state(self, state: State, **facts: Any) -> None:
        """Record the state. Facts not given are kept from the last record, except reason and time."""
        old = {k: v for k, v in self.last_state().items() if k not in ("state", "reason", "time")}
        write_json(self.state, {**old, "reason": None, "time": time.time(), **facts, "state": state.value})

    def record_attempt(self, environment: Mapping[str, object]) -> int:
        """Append an attempt's environment, and bring it onto the disk; return the attempt's number, from 1."""
        number = 1 + (read_bytes(self.attempts, LARGE).count(b"\n") if exists(self.attempts) else 0)
        append_jsonl(self.attempts, {"attempt": number, **environment}, sync=True)
        return number

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Hold the run's lock; yields False if another process holds it.

        The system releases the lock when the process ends, however it ends, so a killed worker never blocks the next one.
        It tries for a second, because :meth:`held` takes a shared lock for a moment to look.

        Raises:
            BenchError: if the store's file system has no locks.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._open_lock() as file:
            if not lock(file, seconds=1.0):
                yield False
                return
            file.truncate(0)
            file.write(json.dumps({**_myself(), "since": time.time()}).encode())
            file.flush()
            os.fsync(file.fileno())  # on a network file system others must see the claim now, not when it is closed
            yield True

    def _open_lock(self) -> io.FileIO:
        try:
            return open_file(self.lock, "ab")
        except Damaged as error:  # nobody can hold what is no file
            set_aside(self.lock, error.why)
            return open_file(self.lock, "ab")

    def discard_checkpoint(self) -> None:
        """Remove the checkpoint of a run that is done, which a process killed right after its result has left."""
        if exists(self.checkpoint):
            with self.claim() as mine:
                if mine and self.is_done():
                    self.checkpoint.unlink(missing_ok=True)

    def owner(self) -> Owner:
        """Return who claimed the run last: `host`, `pid`, `since`; empty where nobody did, or is just writing it."""
        try:
            return cast(Owner, read_json(self.lock, dict) or {})
        except Damaged:
            return {}

    def claimed_by(self) -> tuple[str | None, int | None]:
        """Return the host and the process id of who claimed the run last; None where nobody did."""
        owner = self.owner()
        return owner.get("host"), owner.get("pid")

    def lost(self) -> bool:
        """Tell whether another process has claimed the run since this one did.

        That happens where a file system's locks don't reach other hosts, or vanish with its server. The one who finds the
        run lost must write nothing more to it.
        """
        return self.claimed_by() not in ((None, None), tuple(_myself().values()))

    def held(self) -> bool:
        """Tell whether a process on this machine (or one that shares its locks) works on the run."""
        return is_locked(self.lock)


_STATES = frozenset(state.value for state in State)


def _myself() -> Owner:
    return {"host": socket.gethostname(), "pid": os.getpid()}
