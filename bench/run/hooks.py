"""The surroundings of one attempt: what the training loop asks of signals, the store and the evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.class_mean import indices
from bench.run.signals import Signals
from bench.spec.cell import Cell
from bench.store.job import Job, holds_ticket
from bench.store.run import Run, State

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.train.evaluate import Sample
    from bench.train.metrics import Score
    from bench.train.reader import Reader
    from datasets.split import Split
    from methods.base import Method

HEARTBEAT = 2.0  # seconds between updates of state.json


class Lost(Exception):  # noqa: N818 (an outcome, not a mistake)
    """Another process has the run now; this one must write nothing more."""


class Hooks:
    """The loop's surroundings: signals, heartbeat, evaluation."""

    def __init__(self, run: Run, job: Job, signals: Signals) -> None:
        self.run, self.job, self.signals = run, job, signals
        self.beat = time.monotonic()
        self.first: tuple[int, float] | None = None
        self.taken_back = False
        self.step = 0

    def open(self, cell: Cell, reader: Reader, split: Split, device: torch.device) -> None:
        """Take what an evaluation needs."""
        self.cell, self.reader, self.device = cell, reader, device
        self.held_out = split.holdout
        self.scored = reader.dataset.ids(reader.dataset.config.eval_split)
        annotated = set(reader.dataset.annotated) if cell.evaluation.pseudo_labels else ()
        self.diagnosed = [name for name in split.unlabelled if name in annotated]

    def images_of(self, which: str) -> tuple[str, ...]:
        """Return the ids of the images whose matrices are kept under a name."""
        from bench.train.loop import HOLDOUT

        return tuple(self.held_out if which.startswith(HOLDOUT) else self.scored)

    def should_stop(self) -> bool:
        """Tell whether a signal came, or the run's ticket was cancelled or given to another submission."""
        return self.taken_back or self.signals.received is not None or self.at_rung

    @property
    def at_rung(self) -> bool:
        """Whether the run has come to the step at which its job stops for now."""
        return self.job.until is not None and self.step >= self.job.until

    def still_ours(self) -> None:
        """Raise :class:`Lost` if another process has claimed the run."""
        if self.run.lost():
            raise Lost

    def progress(self, step: int, miou: float | None) -> None:
        """Note a step and the last evaluation's mIoU in percent; every few seconds write a heartbeat."""
        now, self.step = time.monotonic(), step
        if self.first is None:  # the first step warms up; the rate counts from its end
            self.first = (step, now)
        elif now - self.beat >= HEARTBEAT:
            self._beat(step=step, it_per_s=(step - self.first[0]) / (now - self.first[1]), miou=miou)

    def _beat(self, **facts: Any) -> None:
        self.still_ours()
        self.run.write_state(State.RUNNING, **facts)
        self.taken_back = not holds_ticket(self.run, self.job)
        self.beat = time.monotonic()

    def until_stopped(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """Pass samples on, with a heartbeat; raises ``EvaluationStopped`` when asked to stop."""
        from bench.train.loop import EvaluationStopped

        for sample in samples:
            if self.should_stop():
                raise EvaluationStopped
            if time.monotonic() - self.beat >= HEARTBEAT:
                self._beat()
            yield sample

    def evaluate(self, method: Method) -> Score:
        """Score the predictor on the evaluation split; raises ``EvaluationStopped`` when asked to stop."""
        return self._score(method.predictor, self.scored)

    def evaluate_others(self, method: Method) -> dict[str, Score]:
        """Score what else the method could predict with on the evaluation split, by name; otherwise as :meth:`evaluate`."""
        others = list(method.predictors.items())[1:]
        return {name: self._score(predictor, self.scored) for name, predictor in others}

    def evaluate_holdout(self, method: Method) -> Score:
        """Score the predictor on the images held out of the labelled ones; otherwise as :meth:`evaluate`."""
        return self._score(method.predictor, self.held_out)

    @property
    def diagnoses(self) -> bool:
        """Whether the predictor's labels of unlabelled images are looked at."""
        return bool(self.diagnosed)

    def diagnose(self, method: Method) -> dict[str, float]:
        """Compare the predictor's labels of unlabelled images with masks, which a reader of its own reads."""
        from bench.arrays import spread
        from bench.train.pseudo_labels import diagnose
        from bench.train.reader import Reader

        evaluation, dataset = self.cell.evaluation, self.reader.dataset
        assert evaluation.pseudo_labels is not None
        ids = [self.diagnosed[i] for i in spread(len(self.diagnosed), evaluation.pseudo_labels.images)]
        samples = self.until_stopped(iter(Reader(dataset, ids, 0).pairs(ids)))
        return diagnose(method.predictor, samples, dataset.classes, evaluation, self.device, self.cell.numerics)

    def _score(self, predictor: nn.Module, ids: Sequence[str]) -> Score:
        from bench.train.evaluate import evaluate

        classes, evaluation = self.reader.dataset.classes, self.cell.evaluation
        return evaluate(
            predictor,
            self.until_stopped(iter(self.reader.pairs(ids))),
            len(classes),
            evaluation,
            self.device,
            self.cell.numerics,
            indices(evaluation.ignore_classes, classes),
            lambda place: self.reader.name(ids[place]),
        )
