"""One training step: batches to losses, backward pass, optimizer, moving averages. It needs neither store nor reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

import torch
from torch import Tensor

from bench.phases import in_phase, phase
from bench.seeds import derive
from bench.spec.cell import Cell
from bench.train.optim import learning_rate, make_optimizer, set_learning_rate
from methods.base import Batch, Method

StateDict = dict[str, Any]  # of an optimizer or of plain values: whatever torch.save takes


class StepperState(TypedDict):
    """What :meth:`Stepper.state` returns and :meth:`Stepper.load` takes; see the attributes of :class:`Stepper`."""

    method: dict[str, Tensor]
    optimizer: StateDict
    step: int
    loss_sums: dict[str, Tensor]
    loss_count: int


class Diverged(Exception):  # noqa: N818 (an outcome, not a mistake)
    """A loss became NaN or infinite. Attributes: the step (from 0) at which it did."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss was not finite at step {step}")
        self.step = step


class Stepper:
    """Takes a cell's optimizer steps, one after the other: precision, accumulation, clipping, learning rate and EMA.

    Args:
        cell: schedule, optimizer, numerics and seeds.
        method: built from the cell, on `device`.
        device: of the method and of the batches.
        graphs: whether the networks are replayed as CUDA graphs (see ``build.compile_networks``).

    Attributes:
        done: optimizer steps taken.
        loss_sums: sum of each loss since the last :meth:`take_mean_losses`, on the device.
        loss_count: steps in these sums.
    """

    def __init__(self, cell: Cell, method: Method, device: torch.device, graphs: bool = False) -> None:
        self.cell, self.method, self.device, self.graphs = cell, method, device, graphs
        self.optimizer = make_optimizer(cell.optimizer, method)
        self.done = 0
        self.loss_sums: dict[str, Tensor] = {}
        self.loss_count = 0
        # First step with a loss that isn't finite; kept on the device, so that looking for it never waits.
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=device)

    @property
    def rate(self) -> float:
        """Base learning rate of the last step taken."""
        return learning_rate(self.cell.optimizer, max(self.done - 1, 0), self.cell.schedule.iterations)

    def take(self, batches: Iterable[Batch]) -> None:
        """Take one optimizer step over the micro-batches."""
        accumulate = self.cell.schedule.accumulate
        if (
            self.graphs
        ):  # not for each micro-batch: gradients, which lie in the graphs' memory too, are added up over them
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # Modules that draw from the global generator (dropout) get a fresh, step-bound seed as well.
        torch.manual_seed(derive(self.cell.seeds.data, "torch", self.done))
        rate = learning_rate(self.cell.optimizer, self.done, self.cell.schedule.iterations)
        set_learning_rate(self.optimizer, rate)
        for batch in in_phase("data", batches):
            losses = self._losses(batch)
            total = torch.stack([loss.float() for loss in losses.values()]).sum() / accumulate
            with phase("backward"):
                total.backward()  # type: ignore[no-untyped-call]
            self._note(losses, total.detach(), accumulate)
        with phase("optimizer"):
            self._update()
        with phase("ema"):
            self.method.after_step(self.done)
        self.done += 1
        self.loss_count += 1

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        bf16 = self.cell.numerics.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.method.losses(batch)

    def _update(self) -> None:
        if self.cell.optimizer.clip_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.cell.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _note(self, losses: dict[str, Tensor], total: Tensor, accumulate: int) -> None:
        first_bad = (self._bad_step < 0) & ~torch.isfinite(total)
        self._bad_step = torch.where(first_bad, self.done, self._bad_step)
        for name, loss in losses.items():
            value = loss.detach().float() / accumulate
            known = self.loss_sums.get(name)
            self.loss_sums[name] = value if known is None else known + value

    def check_finite(self) -> None:
        """Raise :class:`Diverged` if a loss since the start wasn't finite (waits for the device)."""
        bad = int(self._bad_step)
        if bad >= 0:
            raise Diverged(bad)

    def take_mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last call, and begin anew (waits for the device)."""
        means = {name: float(total) / self.loss_count for name, total in self.loss_sums.items()}
        self.loss_sums, self.loss_count = {}, 0
        return means

    def state(self) -> StepperState:
        """Return what :meth:`load` takes: states of method and optimizer, steps done, sums of losses."""
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.done,
            "loss_sums": self.loss_sums,
            "loss_count": self.loss_count,
        }

    def load(self, state: StepperState) -> None:
        """Go on from a state; tensors are brought to the device.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if it isn't the state of such a method.
        """
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.loss_count = int(state["step"]), int(state["loss_count"])
        self.loss_sums = {str(name): total.to(self.device) for name, total in state["loss_sums"].items()}
