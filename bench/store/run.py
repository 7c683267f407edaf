"""A run: the directory of one cell, its typed state, and the claim that makes sure one process works on it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any, cast

from typing_extensions import NotRequired, TypedDict

from bench.files import append_jsonl, read_json, write_json


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
        time: of the record (seconds since the epoch).
        gone: the state says running, but its process isn't there.
        submission, array, index: the place in a submission to a cluster.
        at_once: it failed before its first step, through no fault of the input.
        fault: whose fault a failure is, one of ``bench.store.failures.Fault``.
        hardware: models of the devices that it was trained on, in order.
        codes: hashes of the code that trained it, in order.
        device_lost: nothing worked on the device any more in the process that failed.
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
    at_once: NotRequired[bool | None]
    fault: NotRequired[str | None]
    device_lost: NotRequired[bool | None]
    hardware: NotRequired[list[str]]
    codes: NotRequired[list[str]]


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

    def read_state(self) -> StateRecord:
        """Return the state as recorded: ``{"state": "pending"}`` where nothing is.

        Raises:
            ValueError: if the file is damaged.
        """
        state = read_json(self.state)
        return cast(StateRecord, state) if isinstance(state, dict) else {"state": State.PENDING.value}

    def write_state(self, state: State, **facts: Any) -> None:
        """Record the state. Facts not given are kept from the last record, except the reason."""
        old = {k: v for k, v in self.read_state().items() if k not in ("state", "reason")}
        write_json(self.state, {**old, "reason": None, **facts, "state": state.value, "time": time.time()})

    def record_attempt(self, environment: Mapping[str, object]) -> int:
        """Append an attempt's environment; return the attempt's number, from 1."""
        number = 1 + (self.attempts.read_bytes().count(b"\n") if self.attempts.exists() else 0)
        append_jsonl(self.attempts, {"attempt": number, **environment})
        return number

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Hold the run's lock; yields False if another process holds it.

        The system releases the lock when the process ends, however it ends, so a killed worker never blocks the next one.
        It tries for a second, because :meth:`held` takes a shared lock for a moment to look.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock.open("a+") as file:
            if not _try_lock(file, seconds=1.0):
                yield False
                return
            file.truncate(0)
            file.write(json.dumps({**_myself(), "since": time.time()}))
            file.flush()
            os.fsync(file.fileno())  # on a network file system others must see the claim now, not when it is closed
            yield True

    def discard_checkpoint(self) -> None:
        """Remove the checkpoint of a run that is done, which a process killed right after its result has left."""
        if self.checkpoint.exists():
            with self.claim() as mine:
                if mine and self.result.exists():
                    self.checkpoint.unlink(missing_ok=True)

    def owner(self) -> Owner:
        """Return who claimed the run last: `host`, `pid`, `since`; empty where nobody did, or is just writing it."""
        try:
            found = json.loads(self.lock.read_text() or "{}")
        except (FileNotFoundError, ValueError):
            return {}
        return cast(Owner, found) if isinstance(found, dict) else {}

    def lost(self) -> bool:
        """Tell whether another process has claimed the run since this one did.

        That happens where a file system's locks don't reach other hosts, or vanish with its server. The one who finds the
        run lost must write nothing more to it.
        """
        owner = self.owner()
        return bool(owner) and any(owner.get(k) != v for k, v in _myself().items())

    def held(self) -> bool:
        """Tell whether a process on this machine (or one that shares its locks) works on the run."""
        try:
            with self.lock.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def _myself() -> Owner:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _try_lock(file: IO[str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True
