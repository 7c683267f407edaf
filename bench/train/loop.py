"""The one training loop: every method, every dataset, one device. Its surroundings are callables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict, cast

from torch import Tensor

from bench.spec.resources import Resources
from bench.store.confusion import ImageCounts
from bench.train.evaluate import PHASE
from bench.train.loader import Loader
from bench.train.meters import MemoryReport, StepMeter, meter_only_looks, whole_run
from bench.train.metrics import EvaluationRecord, Score
from bench.train.step import Diverged, StateDict, Stepper
from methods.base import Batch

HOLDOUT = "holdout-"  # begins the names of matrices of held-out images
Row = Mapping[str, object]  # a line of metrics.jsonl or timing.jsonl: JSON types


class CheckpointContent(TypedDict):
    """What a checkpoint holds.

    Attributes:
        method, optimizer: state dicts.
        progress: plain values and sums of losses; see :class:`Progress` and ``Stepper.state``.
    """

    method: dict[str, Tensor]
    optimizer: StateDict
    progress: StateDict


class Stopped(Exception):  # noqa: N818 (an outcome, not a mistake)
    """The run was asked to stop; a checkpoint has been written. Attributes: steps done."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps, with a checkpoint")
        self.step = step


class EvaluationStopped(Exception):  # noqa: N818 (an outcome, not a mistake)
    """Raised by ``Calls.evaluate`` when the run is asked to stop; the evaluation is made anew after a resume."""


def _ignore(*_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Calls:
    """What the loop calls; by default nothing happens.

    Attributes:
        evaluate: score the method's predictor on the evaluation split.
        evaluate_holdout: score it on the images held out of the labelled ones; None where there are none.
        evaluate_others: score the method's other predictors on the evaluation split, by name; None where nobody asked.
        diagnose: look at its labels of unlabelled images; None where nobody asked.
        log: keep a line of metrics: losses, learning rate and what the method logs, or an evaluation; the same for
            identical runs.
        log_timing: keep a line of what differs between identical runs: since the line before, seconds per optimizer step
            (with waiting for data and checkpoints, without evaluations), images per second, and memory in bytes.
        log_memory: keep the memory of a step by phase, where measuring doesn't alter it, or of an evaluation.
        checkpoint: keep a state from which the run can go on; may return before it is on the disk.
        keep_weights: keep the predictor's weights as those of the `best` or `selected` evaluation so far.
        keep_images: keep an evaluation's matrices per image, `best` or `selected` so far or `last` of the run, and its step;
            ``holdout-selected`` and ``holdout-last`` are those of the images held out.
        finish: return when all that was to be kept is on the disk.
        progress: called with the steps done and the last evaluation's mIoU, at every step.
        should_stop: tell whether the run was asked to stop.
    """

    evaluate: Callable[[], Score]
    evaluate_holdout: Callable[[], Score] | None = None
    evaluate_others: Callable[[], dict[str, Score]] | None = None
    diagnose: Callable[[], dict[str, float]] | None = None
    log: Callable[[Row], None] = _ignore
    log_timing: Callable[[Row], None] = _ignore
    log_memory: Callable[[MemoryReport], None] = _ignore
    checkpoint: Callable[[CheckpointContent], None] = _ignore
    keep_weights: Callable[[str, dict[str, Tensor]], None] = _ignore
    keep_images: Callable[[str, int, ImageCounts | None], None] = _ignore
    finish: Callable[[], None] = _ignore
    progress: Callable[[int, float | None], None] = _ignore
    should_stop: Callable[[], bool] = lambda: False


@dataclass
class Progress:
    """What a checkpoint holds beside the stepper's state.

    Attributes:
        evaluations: `last` and `best` so far, with their step; `selected` has the highest mIoU on held-out images.
        seconds: spent training and evaluating so far, over all attempts.
        evaluation_seconds: of these, spent on evaluations.
        data_wait_seconds: of these, spent waiting for data.
    """

    evaluations: dict[str, EvaluationRecord] = field(default_factory=dict)
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    data_wait_seconds: float = 0.0


class Trainer:
    """Trains one cell from wherever its checkpoint is to its last iteration.

    Args:
        stepper: takes the steps.
        loader: batches by step.
        resources: intervals of logging and checkpoints.
        calls: the surroundings.
    """

    def __init__(self, stepper: Stepper, loader: Loader, resources: Resources, calls: Calls) -> None:
        self.stepper, self.loader, self.resources, self.calls = stepper, loader, resources, calls
        self.cell, self.device = stepper.cell, stepper.device
        self.progress = Progress()
        self.began = self.saved_at = time.monotonic()
        self._waited = 0.0  # seconds of the loader's waiting that `progress` has
        self._evaluation_measured = False  # in this attempt
        self._timed = (self.began, 0, 0.0)  # time, step and seconds of evaluations at the last line of timing

    def train(self) -> Progress:
        """Train to the last iteration; return the progress, with its evaluations.

        Raises:
            Diverged: on a loss that isn't finite; the last checkpoint is from before it.
            Stopped: when asked to stop, after writing a checkpoint.
        """
        self.stepper.method.train()
        if self._evaluation_is_missing():  # the last attempt was stopped in the middle of it
            self._evaluate()
        start = self.stepper.done
        self._timed = (time.monotonic(), start, self.progress.evaluation_seconds)
        meters = meter_only_looks(self.device, bool(self.resources.compile))
        for batches in self.loader.steps(start):
            self._step(batches, measured=meters and self.stepper.done < start + 2)
            if self.stepper.done == 1:
                self.stepper.check_finite()  # a mistake in a method is told at once
            step, ends = self.stepper.done, self.stepper.done == self.cell.schedule.iterations
            if step % self.resources.log_every == 0 or ends:
                self._log()
                self._log_timing()
            if self._evaluation_is_missing():
                self._evaluate()
            last = self.progress.evaluations.get("last")
            self.calls.progress(step, None if last is None else last["miou"])
            if not ends:
                self._checkpoint_if_due()
        self.save()
        self.calls.finish()
        return self.progress

    def _step(self, batches: Iterator[Batch], measured: bool) -> None:
        """Take a step; under the meter where it is measured, which alters nothing of its result.

        The first step has no optimizer state yet; where there is a second one, it is what is kept.
        """
        if not measured:
            self.stepper.take(batches)
            return
        with StepMeter(self.device, self.stepper.method, self.stepper.optimizer) as meter:
            self.stepper.take(batches)
        self.calls.log_memory(meter.report())

    def _checkpoint_if_due(self) -> None:
        stopping = self.calls.should_stop()
        late = time.monotonic() - self.saved_at > self.resources.checkpoint_seconds
        if stopping or late or self.stepper.done % self.resources.checkpoint_every == 0:
            self.save()
        if stopping:
            self.calls.finish()
            raise Stopped(self.stepper.done)

    def _log(self) -> None:
        self.stepper.check_finite()
        losses, logged = self.stepper.take_means()
        also = {"logged": logged} if logged else {}
        self.calls.log({"step": self.stepper.done, "lr": self.stepper.rate, "losses": losses, **also})

    def _log_timing(self) -> None:
        """Log what a step took since the line before; evaluations in between are left out, wherever they fell."""
        (then, before, evaluated), step = self._timed, self.stepper.done
        self._timed = (time.monotonic(), step, self.progress.evaluation_seconds)
        training = self._timed[0] - then - (self._timed[2] - evaluated)
        seconds = training / max(step - before, 1)
        rate = self.loader.images_per_step / seconds if seconds else None
        row = {"step": step, "seconds_per_step": seconds, "images_per_s": rate}
        self.calls.log_timing({**row, "data_wait_seconds": self.loader.waited, **whole_run(self.device)})

    def _evaluation_is_missing(self) -> bool:
        step, every = self.stepper.done, self.cell.evaluation.every
        due = step > 0 and (step % every == 0 or step == self.cell.schedule.iterations)
        last = self.progress.evaluations.get("last")
        return due and (last is None or last["step"] != step)

    def _evaluate(self) -> None:
        self.stepper.check_finite()
        p, step, begin = self.progress, self.stepper.done, time.monotonic()
        try:
            score, held_out = self._scores()
            others = None if self.calls.evaluate_others is None else self.calls.evaluate_others()
            diagnosis = None if self.calls.diagnose is None else self.calls.diagnose()
        except EvaluationStopped:
            self.save()
            self.calls.finish()
            raise Stopped(step) from None
        p.evaluation_seconds += time.monotonic() - begin
        if not math.isfinite(score.miou):
            raise Diverged(step)
        logged = {**{f"mIoU of {name}": other.miou for name, other in (others or {}).items()}, **(diagnosis or {})}
        also = {"holdout": held_out and held_out.as_dict(), "logged": logged or None}
        self.calls.log({"step": step, "eval": score.as_dict(), **{k: v for k, v in also.items() if v is not None}})
        record = cast(EvaluationRecord, {"step": step, **score.as_dict()})
        if others is not None:
            record["predictor"] = next(iter(self.stepper.method.predictors))
            record["predictors"] = {name: other.as_dict() for name, other in others.items()}
        self._keep_evaluation(record, score.images, held_out)

    def _scores(self) -> tuple[Score, Score | None]:
        """Return the scores on the evaluation split and on held-out images; the first time under the meter."""

        def scores() -> tuple[Score, Score | None]:
            return self.calls.evaluate(), None if self.calls.evaluate_holdout is None else self.calls.evaluate_holdout()

        if self._evaluation_measured:
            return scores()
        trained = whole_run(self.device).get("peak_memory_bytes", 0)  # which the meter resets
        with StepMeter(self.device, self.stepper.method, self.stepper.optimizer) as meter:
            found = scores()
        self._evaluation_measured, report = True, meter.report()
        peak = report["peak_memory_bytes"]
        report["phases"] = {PHASE: peak}
        self.calls.log_memory({**report, "peak_memory_bytes": max(peak, trained)})
        return found

    def _keep_evaluation(self, record: EvaluationRecord, images: ImageCounts | None, held_out: Score | None) -> None:
        """Note an evaluation, and keep the weights if it is the first with the highest mIoU, on val or on the holdout."""
        known = self.progress.evaluations
        rises = [] if "best" in known and record["miou"] <= known["best"]["miou"] else ["best"]
        if held_out is not None:
            record["holdout_miou"] = held_out.miou
            rises += [] if "selected" in known and held_out.miou <= known["selected"]["holdout_miou"] else ["selected"]
        known["last"] = record
        for which in rises:
            known[which] = record
            self.calls.keep_weights(which, self.stepper.method.predictor.state_dict())
        kept = [*rises, *(["last"] if record["step"] == self.cell.schedule.iterations else [])]
        for which in kept:
            self.calls.keep_images(which, record["step"], images)
            if held_out is not None and which != "best":
                self.calls.keep_images(f"{HOLDOUT}{which}", record["step"], held_out.images)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Give a state that is known to be good to ``Calls.checkpoint``.

        Raises:
            Diverged: instead of keeping a state that isn't.
        """
        self.stepper.check_finite()
        p, now = self.progress, time.monotonic()
        p.seconds += now - self.began
        p.data_wait_seconds += self.loader.waited - self._waited
        self.began, self._waited = now, self.loader.waited
        state = self.stepper.state()
        progress = {
            "step": state["step"],
            "loss_sums": state["loss_sums"],
            "logged_sums": state["logged_sums"],
            "loss_count": state["loss_count"],
            **asdict(p),
        }
        self.calls.checkpoint({"method": state["method"], "optimizer": state["optimizer"], "progress": progress})
        self.saved_at = time.monotonic()

    def restore(self, content: CheckpointContent) -> None:
        """Go on from what :meth:`save` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if it is anything else.
        """
        progress = dict(content["progress"])
        state: Any = {key: progress.pop(key) for key in ("step", "loss_sums", "loss_count")}
        state["logged_sums"] = progress.pop("logged_sums", {})  # older checkpoints have none
        self.progress = Progress(**progress)
        state |= {"method": content["method"], "optimizer": content["optimizer"]}
        self.stepper.load(state)
