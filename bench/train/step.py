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

_KERNELS = ("foreach", "fused", "capturable")  # options of an optimizer that say how it computes, not what
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
        loss_names: of the losses since the last :meth:`take_mean_losses`.
        loss_sums: sum of each, float32 on the device; one tensor, so that adding them up is one launch.
        loss_count: steps in these sums.
    """

    def __init__(self, cell: Cell, method: Method, device: torch.device, graphs: bool = False) -> None:
        self.cell, self.method, self.device, self.graphs = cell, method, device, graphs
        self.optimizer = make_optimizer(cell.optimizer, method)
        self.done = 0
        self.loss_names: tuple[str, ...] = ()
        self.loss_sums = torch.zeros(0, device=device)
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
        # Not for each micro-batch: gradients, which lie in the graphs' memory too, are added up over them.
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # Modules that draw from the global generator (dropout) get a fresh, step-bound seed as well.
        torch.manual_seed(derive(self.cell.seeds.data, "torch", self.done))
        rate = learning_rate(self.cell.optimizer, self.done, self.cell.schedule.iterations)
        set_learning_rate(self.optimizer, rate)
        for batch in in_phase("data", batches):
            losses = self._losses(batch)
            values = torch.stack([loss.float() for loss in losses.values()])
            total = values.sum() / accumulate
            with phase("backward"):
                total.backward()  # type: ignore[no-untyped-call]
            self._note(tuple(losses), values.detach() / accumulate, total.detach())
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

    def _note(self, names: tuple[str, ...], values: Tensor, total: Tensor) -> None:
        first_bad = (self._bad_step < 0) & ~torch.isfinite(total)
        self._bad_step = torch.where(first_bad, self.done, self._bad_step)
        if names != self.loss_names:
            known = self._sums()
            self.loss_names = tuple(dict.fromkeys((*self.loss_names, *names)))
            absent = torch.zeros((), device=self.device)
            self.loss_sums = torch.stack([known.get(name, absent) for name in self.loss_names])
            new = dict(zip(names, values.unbind(), strict=True))
            values = torch.stack([new.get(name, absent) for name in self.loss_names])
        self.loss_sums = self.loss_sums + values

    def _sums(self) -> dict[str, Tensor]:
        return dict(zip(self.loss_names, self.loss_sums.unbind(), strict=True))

    def check_finite(self) -> None:
        """Raise :class:`Diverged` if a loss since the start wasn't finite (waits for the device)."""
        bad = int(self._bad_step)
        if bad >= 0:
            raise Diverged(bad)

    def take_mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last call, and begin anew (waits for the device)."""
        sums: list[float] = self.loss_sums.tolist()
        means = {name: total / self.loss_count for name, total in zip(self.loss_names, sums, strict=True)}
        self.loss_names, self.loss_sums, self.loss_count = (), self.loss_sums[:0], 0
        return means

    def state(self) -> StepperState:
        """Return what :meth:`load` takes: states of method and optimizer, steps done, sums of losses."""
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.done,
            "loss_sums": {name: total.clone() for name, total in self._sums().items()},
            "loss_count": self.loss_count,
        }

    def load(self, state: StepperState) -> None:
        """Go on from a state; tensors are brought to the device.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if it isn't the state of such a method.
        """
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(_for(self.optimizer, state["optimizer"]))
        self.done, self.loss_count = int(state["step"]), int(state["loss_count"])
        sums = {str(name): float(total) for name, total in state["loss_sums"].items()}
        self.loss_names = tuple(sums)
        self.loss_sums = torch.tensor(list(sums.values()), dtype=torch.float32, device=self.device)


def _for(optimizer: torch.optim.Optimizer, state: StateDict) -> StateDict:
    """Return the state of such an optimizer so that this one computes as it was made to on its device.

    A checkpoint brings the other one's choice of kernels, and Adam's `step` where that wanted it or the file was loaded to:
    on the wrong device each parameter waits for its `step`, twice a step. From the CPU torch brings it where it belongs.
    """
    groups = [
        {**saved, **{name: own[name] for name in _KERNELS if name in own}}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    values = {
        number: {name: value.cpu() if name == "step" else value for name, value in of_parameter.items()}
        for number, of_parameter in state["state"].items()
    }
    return {"state": values, "param_groups": groups}
