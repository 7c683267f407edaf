"""The one training loop: every method, every dataset, one device."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.files import append_jsonl, write_json
from bench.phases import in_phase, phase
from bench.seeds import derive
from bench.spec.cell import Cell
from bench.spec.sections import Resources
from bench.store.run import Run
from bench.train import checkpoint
from bench.train.loader import Loader
from bench.train.meters import StepMeter, whole_run
from bench.train.metrics import Score
from bench.train.optim import learning_rate, make_optimizer, set_learning_rate
from methods.base import Batch, Method


class Diverged(Exception):  # noqa: N818 (an outcome, not a mistake)
    """A loss became NaN or infinite. Attributes: the step (from 0) at which it did."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss was not finite at step {step}")
        self.step = step


class Stopped(Exception):  # noqa: N818 (an outcome, not a mistake)
    """The run was asked to stop; a checkpoint has been written. Attributes: steps done."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps, with a checkpoint")
        self.step = step


class EvaluationStopped(Exception):  # noqa: N818 (an outcome, not a mistake)
    """Raised by ``Hooks.evaluate`` when the run is asked to stop; the evaluation is made anew after a resume."""


class Hooks(Protocol):
    """What the loop asks of its surroundings."""

    def should_stop(self) -> bool:
        """Tell whether a signal asked the run to stop."""

    def still_ours(self) -> None:
        """Raise if another process has the run now; asked before anything that lasts is written."""

    def progress(self, step: int, facts: dict[str, Any]) -> None:
        """Hear of progress, at every step."""

    def evaluate(self, method: Method) -> Score:
        """Score the method's predictor on the evaluation split."""


@dataclass
class Progress:
    """What a checkpoint holds beside tensors.

    Attributes:
        step: optimizer steps done.
        metrics_bytes: length of metrics.jsonl, to which a resumed run cuts it back.
        loss_sums: sum of each loss since the last logged line.
        loss_count: steps in these sums.
        evaluations: `last` and `best` so far, with their step.
        seconds: spent training and evaluating so far, over all attempts.
        evaluation_seconds: of these, spent on evaluations.
    """

    step: int = 0
    metrics_bytes: int = 0
    loss_sums: dict[str, Tensor] = field(default_factory=dict)
    loss_count: int = 0
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    evaluation_seconds: float = 0.0


class Trainer:
    """Trains one cell from wherever its checkpoint is to its last iteration.

    Args:
        cell: what to train.
        method: built from the cell, on its device.
        loader: batches by step.
        run: the directory that gets checkpoint, metrics and weights.
        resources: intervals.
        hooks: stop, progress, evaluation.
        device: of the method and the batches.
    """

    def __init__(
        self,
        cell: Cell,
        method: Method,
        loader: Loader,
        run: Run,
        resources: Resources,
        hooks: Hooks,
        device: torch.device,
    ) -> None:
        self.cell, self.method, self.loader, self.run = cell, method, loader, run
        self.resources, self.hooks, self.device = resources, hooks, device
        self.schedule = cell.schedule
        self.optimizer = make_optimizer(cell.optimizer, method)
        self.writer = checkpoint.Writer(lambda: self.hooks.still_ours())
        self.progress = Progress()
        # First step with a loss that isn't finite; kept on the device, so that looking for it never waits.
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self.began = self.saved_at = time.monotonic()

    @property
    def images_per_step(self) -> int:
        """Labelled and unlabelled images per optimizer step."""
        batch = self.loader.schedule.batch
        return batch.labelled + (batch.unlabelled if self.loader.unlabelled else 0)

    # -- one step ------------------------------------------------------------------------------------------------

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        bf16 = self.cell.numerics.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.method.losses(batch)

    def step(self, batches: Iterator[Batch]) -> None:
        """Take one optimizer step over the micro-batches."""
        p, accumulate = self.progress, self.schedule.accumulate
        # Modules that draw from the global generator (dropout) get a fresh, step-bound seed as well.
        torch.manual_seed(derive(self.cell.seeds.data, "torch", p.step))
        set_learning_rate(self.optimizer, learning_rate(self.cell.optimizer, p.step, self.schedule.iterations))
        for batch in in_phase("data", batches):
            losses = self._losses(batch)
            total = torch.stack([loss.float() for loss in losses.values()]).sum() / accumulate
            with phase("backward"):
                total.backward()  # type: ignore[no-untyped-call]
            self._note(losses, total.detach(), accumulate)
        with phase("optimizer"):
            self._update()
        with phase("ema"):
            self.method.after_step(p.step)
        p.step += 1
        p.loss_count += 1

    def _update(self) -> None:
        if self.cell.optimizer.clip_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.cell.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _measured_step(self, batches: Iterator[Batch]) -> None:
        """Take a step under the meter and keep what it found; the step's result is the same."""
        meter = StepMeter(self.device, self.method, self.optimizer)
        with meter:
            self.step(batches)
        write_json(self.run.path / "memory.json", meter.report())

    def _note(self, losses: dict[str, Tensor], total: Tensor, accumulate: int) -> None:
        first_bad = (self.bad_step < 0) & ~torch.isfinite(total)
        self.bad_step = torch.where(first_bad, self.progress.step, self.bad_step)
        for name, loss in losses.items():
            value = loss.detach().float() / accumulate
            known = self.progress.loss_sums.get(name)
            self.progress.loss_sums[name] = value if known is None else known + value

    # -- the run -------------------------------------------------------------------------------------------------

    def train(self) -> Progress:
        """Train to the last iteration; return the progress, with the `last` and `best` evaluations.

        Raises:
            Diverged: on a loss that isn't finite; the last checkpoint is from before it.
            Stopped: when asked to stop, after writing a checkpoint.
        """
        try:
            self._train()
            self.save()
            self.writer.finish()
        finally:
            self.writer.close()
        return self.progress

    def _train(self) -> None:
        self.restore()
        self.method.train()
        start, last_time, last_step = self.progress.step, time.monotonic(), self.progress.step
        if self._evaluation_is_missing():  # the last attempt was stopped in the middle of it
            self._evaluate()
        for batches in self.loader.steps(start):
            # The first step has no optimizer state yet; where there is a second one, it is what is kept.
            take = self._measured_step if self.progress.step < start + 2 else self.step
            take(batches)
            step = self.progress.step
            ends = step == self.schedule.iterations
            if step % self.resources.log_every == 0 or ends:
                self._log()
                now = time.monotonic()
                self._log_timing(step, (now - last_time) / max(step - last_step, 1))
                last_time, last_step = now, step
            if self._evaluation_is_missing():
                self._evaluate()
                last_time = time.monotonic()
            self.hooks.progress(step, self._facts())
            if not ends:
                self._checkpoint_if_due()

    def _facts(self) -> dict[str, Any]:
        last = self.progress.evaluations.get("last")
        return {"miou": None if last is None else last["miou"]}

    def _checkpoint_if_due(self) -> None:
        stopping = self.hooks.should_stop()
        late = time.monotonic() - self.saved_at > self.resources.checkpoint_seconds
        if stopping or late or self.progress.step % self.resources.checkpoint_every == 0:
            self.save()
        if stopping:
            self.writer.finish()
            raise Stopped(self.progress.step)

    def check_finite(self) -> None:
        """Raise :class:`Diverged` if a loss since the start wasn't finite (waits for the device)."""
        bad = int(self.bad_step)
        if bad >= 0:
            raise Diverged(bad)

    def _log(self) -> None:
        self.check_finite()
        p = self.progress
        losses = {name: float(total) / p.loss_count for name, total in p.loss_sums.items()}
        rate = learning_rate(self.cell.optimizer, p.step - 1, self.schedule.iterations)
        append_jsonl(self.run.metrics, {"step": p.step, "lr": rate, "losses": losses})
        p.loss_sums, p.loss_count = {}, 0

    def _log_timing(self, step: int, seconds: float) -> None:
        rate = self.images_per_step / seconds if seconds else None
        row = {"step": step, "seconds_per_step": seconds, "images_per_s": rate}
        append_jsonl(self.run.timing, {**row, "data_wait_seconds": self.loader.waited, **whole_run(self.device)})

    def _evaluation_is_missing(self) -> bool:
        p, every = self.progress, self.cell.evaluation.every
        due = p.step > 0 and (p.step % every == 0 or p.step == self.schedule.iterations)
        return due and p.evaluations.get("last", {}).get("step") != p.step

    def _evaluate(self) -> None:
        self.check_finite()
        p, begin = self.progress, time.monotonic()
        try:
            score = self.hooks.evaluate(self.method)
        except EvaluationStopped:
            self.save()
            self.writer.finish()
            raise Stopped(p.step) from None
        p.evaluation_seconds += time.monotonic() - begin
        found = {"step": p.step, **score.as_dict()}
        if not math.isfinite(found["miou"]):
            raise Diverged(p.step)
        append_jsonl(self.run.metrics, {"step": p.step, "eval": {k: v for k, v in found.items() if k != "step"}})
        p.evaluations["last"] = found
        if found["miou"] > p.evaluations.get("best", {"miou": -1.0})["miou"]:
            p.evaluations["best"] = found
            self.writer.write(self.run.weights("best"), self.method.predictor.state_dict())

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of a state that is known to be good; its copy is made here, the file while training goes on.

        Raises:
            Diverged: instead of writing a state that isn't.
        """
        self.check_finite()
        self.hooks.still_ours()
        p, now = self.progress, time.monotonic()
        p.metrics_bytes = self.run.metrics.stat().st_size if self.run.metrics.exists() else 0
        p.seconds += now - self.began
        self.began = now
        content = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(p),
        }
        self.writer.write(self.run.checkpoint, content)
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Go back to the last checkpoint, or to the start; metrics written after it are cut off."""
        content = checkpoint.load(self.run.checkpoint, self.device)
        if content is not None:
            self.method.load_state_dict(content["method"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.progress = Progress(**content["progress"])
        with self.run.metrics.open("ab") as file:
            file.truncate(self.progress.metrics_bytes)
