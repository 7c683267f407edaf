"""One attempt at a cell: the job it was given, the signals it hears, and what the training loop asks of both."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.spec.cell import Cell
from bench.store.run import Run, State
from bench.store.ticket import read_ticket

if TYPE_CHECKING:
    import torch

    from bench.train.evaluate import Sample
    from bench.train.metrics import Score
    from bench.train.reader import Reader
    from methods._base import Method

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
HEARTBEAT = 2.0  # seconds between updates of state.json


@dataclass(frozen=True)
class Job:
    """What a worker is told: plain values, so that it can be pickled or written as JSON.

    Attributes:
        store: the run store.
        cell_id: whose directory holds cell.json.
        data: folder per dataset.
        resources: ``Resources`` as a mapping.
        retry: also run a cell that diverged.
        submission: the submission to a cluster that this job belongs to; "" for one that runs at once.
    """

    store: str
    cell_id: str
    data: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    retry: bool = False
    submission: str = ""


def holds_ticket(run: Run, job: Job) -> bool:
    """Tell whether the run is still in the hands of this job's submission; a job without one doesn't ask."""
    if not job.submission:
        return True
    ticket = read_ticket(run)
    return ticket is not None and ticket.submission == job.submission and ticket.cancelled is None


class Signals:
    """Notes stop signals instead of dying from them, so that the loop can write a checkpoint first."""

    def __init__(self) -> None:
        self.received: int | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context lasts; only the main thread of a process can.

        A process that was started deaf to Ctrl-C, as shells do with what a script puts in the background, stays so.
        """
        deaf = {signal.SIGINT} if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else set()
        old = {number: signal.signal(number, self._note) for number in STOP_SIGNALS if number not in deaf}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


class Lost(Exception):  # noqa: N818 (an outcome, not a mistake)
    """Another process has the run now; this one must write nothing more."""


class Hooks:
    """The loop's surroundings: signals, heartbeat, evaluation."""

    def __init__(self, run: Run, job: Job, signals: Signals) -> None:
        self.run, self.job, self.signals = run, job, signals
        self.beat = time.monotonic()
        self.first: tuple[int, float] | None = None
        self.taken_back = False

    def open(self, cell: Cell, reader: Reader, device: torch.device) -> None:
        """Take what an evaluation needs."""
        self.cell, self.reader, self.device = cell, reader, device
        self.scored = reader.dataset.ids(reader.dataset.config.eval_split)

    def should_stop(self) -> bool:
        """Tell whether a signal came, or the run's ticket was cancelled or given to another submission."""
        return self.taken_back or self.signals.received is not None

    def still_ours(self) -> None:
        """Raise :class:`Lost` if another process has claimed the run."""
        if self.run.lost():
            raise Lost

    def progress(self, step: int, facts: dict[str, Any]) -> None:
        """Note a step; every few seconds write a heartbeat."""
        now = time.monotonic()
        if self.first is None:  # the first step warms up; the rate counts from its end
            self.first = (step, now)
        elif now - self.beat >= HEARTBEAT:
            self._beat(step=step, it_per_s=(step - self.first[0]) / (now - self.first[1]), **facts)

    def _beat(self, **facts: Any) -> None:
        self.still_ours()
        self.run.write_state(State.RUNNING, **facts)
        self.taken_back = not holds_ticket(self.run, self.job)
        self.beat = time.monotonic()

    def _until_stopped(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        from bench.train.loop import EvaluationStopped

        for sample in samples:
            if self.should_stop():
                raise EvaluationStopped
            if time.monotonic() - self.beat >= HEARTBEAT:
                self._beat()
            yield sample

    def evaluate(self, method: Method) -> Score:
        """Score the predictor; raises ``EvaluationStopped`` when asked to stop."""
        from bench.train.evaluate import evaluate

        return evaluate(
            method.predictor,
            self._until_stopped(iter(self.reader.pairs(self.scored))),
            len(self.reader.dataset.classes),
            self.cell.evaluation,
            self.device,
            self.cell.numerics,
        )
