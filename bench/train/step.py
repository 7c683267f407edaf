"""One training step: batches to losses, backward pass, optimizer, moving averages. It needs neither store nor reader."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypedDict

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.phases import in_phase, phase
from bench.seeds import derive
from bench.spec.cell import Cell
from bench.train.group import Group
from bench.train.means import Means
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
    logged_sums: dict[str, Tensor]
    loss_count: int


class Diverged(Exception):  # noqa: N818 (an outcome, not a mistake)
    """A loss became NaN or infinite. Attributes: the step (from 0) at which it did, and the losses' names, if known."""

    def __init__(self, step: int, names: Sequence[str] = ()) -> None:
        named = f" '{', '.join(names)}'" if names else ""
        super().__init__(f"the loss{named} was not finite at step {step}")
        self.step, self.names = step, tuple(names)


class Stepper:
    """Takes a cell's optimizer steps, one after the other: precision, accumulation, clipping, learning rate and EMA.

    Args:
        cell: schedule, optimizer, numerics and seeds.
        method: built from the cell, on `device`.
        device: of the method and of the batches.
        graphs: whether the networks are replayed as CUDA graphs (see ``build.compile_networks``).
        group: the processes that take the steps together, where there are several.

    Attributes:
        done: optimizer steps taken.
        losses, logged: of the steps since the last :meth:`take_means`; see ``Method.log`` for the latter.
        loss_count: steps in these.
    """

    def __init__(
        self, cell: Cell, method: Method, device: torch.device, graphs: bool = False, group: Group | None = None
    ) -> None:
        self.cell, self.method, self.device, self.graphs, self.group = cell, method, device, graphs, group
        self.optimizer = make_optimizer(cell.optimizer, method)
        self.done = 0
        self.losses, self.logged = Means(device), Means(device)
        self.loss_count = 0
        # First step with a loss that isn't finite; kept on the device, so that looking for it never waits.
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=device)

    @property
    def rate(self) -> float:
        """Base learning rate of the last step taken."""
        return learning_rate(self.cell.optimizer, max(self.done - 1, 0), self.cell.schedule.iterations)

    def take(self, batches: Iterable[Batch]) -> None:
        """Take one optimizer step over the micro-batches."""
        with nullcontext() if self.group is None else self.group.step():
            self._take(batches)

    def _take(self, batches: Iterable[Batch]) -> None:
        accumulate = self.cell.schedule.accumulate
        # Not for each micro-batch: gradients, which lie in the graphs' memory too, are added up over them.
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # Modules that draw from the global generator (dropout) get a fresh, step-bound seed as well.
        torch.manual_seed(derive(self.cell.seeds.data, "torch", self.done))
        rate = learning_rate(self.cell.optimizer, self.done, self.cell.schedule.iterations)
        set_learning_rate(self.optimizer, rate)
        for batch in in_phase("data", batches):
            losses, logged = self._losses(batch)
            values = torch.stack([loss.float() for loss in losses.values()])
            total = values.sum() / accumulate
            with phase("backward"):
                total.backward()  # type: ignore[no-untyped-call]
            self._note(tuple(losses), values.detach() / accumulate, total.detach())
            if logged:
                self.logged.add(tuple(logged), torch.stack(list(logged.values())) / accumulate)
        with phase("optimizer"):
            self._update()
        with phase("ema"):
            self.method.after_step(self.done)
        self.done += 1
        self.loss_count += 1

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return a batch's losses, and what the method logged of it."""
        bf16 = self.cell.numerics.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses = self.method.losses(batch)
        check_losses(losses, self.cell.method.name)
        logged = self.method.take_logged()
        check_logged(logged, losses, self.cell.method.name)
        return losses, logged

    def _update(self) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.group is not None:
            self.group.sum_gradients(parameters)
        if self.cell.optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.cell.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _note(self, names: tuple[str, ...], values: Tensor, total: Tensor) -> None:
        first_bad = (self._bad_step < 0) & ~torch.isfinite(total)
        self._bad_step = torch.where(first_bad, self.done, self._bad_step)
        self.losses.add(names, values)

    def check_finite(self) -> None:
        """Raise :class:`Diverged` if a loss since the start wasn't finite (waits for the device)."""
        bad = int(self._bad_step)
        if bad >= 0:
            raise Diverged(bad, self.losses.not_finite())

    def take_means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the means of losses and of what was logged since the last call, and begin anew (waits for the device).

        Of what was logged those that aren't finite are left out: a share of no pixel has no value.
        """
        losses, logged = self.losses.take(self.loss_count), self.logged.take(self.loss_count)
        self.loss_count = 0
        return losses, {name: value for name, value in logged.items() if math.isfinite(value)}

    def state(self) -> StepperState:
        """Return what :meth:`load` takes: states of method and optimizer, steps done, sums of losses."""
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.done,
            "loss_sums": self.losses.state(),
            "logged_sums": self.logged.state(),
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
        self.losses.load(state["loss_sums"])
        self.logged.load(state["logged_sums"])


def check_losses(losses: Any, method: str) -> None:
    """Raise where a method returns anything but named scalars that depend on its weights; nothing waits for the device.

    Raises:
        BenchError: naming the loss, and what it should be.
    """
    where = f"method '{method}': losses()"
    if not isinstance(losses, Mapping) or not losses:
        raise BenchError(f"{where} must return a dict of at least one named loss, not {_described(losses)}")
    for name, loss in losses.items():
        if not isinstance(name, str):
            raise BenchError(f"{where}: a loss's name must be a text, not {name!r}")
        if not (isinstance(loss, Tensor) and loss.shape == () and loss.is_floating_point()):
            raise BenchError(f"{where}: the loss '{name}' must be a scalar tensor of floats, not {_described(loss)}")
    if not any(loss.requires_grad for loss in losses.values()) and torch.is_grad_enabled():
        raise BenchError(f"{where}: no loss depends on a weight that is trained: {', '.join(losses)}")


def check_logged(logged: Mapping[Any, Any], losses: Mapping[str, Tensor], method: str) -> None:
    """Raise where a method logs anything but named scalars, or one by the name of a loss; nothing waits for the device.

    Raises:
        BenchError: naming the value, and what it should be.
    """
    for name, value in logged.items():
        where = f"method '{method}': log({name!r})"
        if not isinstance(name, str):
            raise BenchError(f"{where}: the name must be a text")
        if name in losses:
            raise BenchError(f"{where}: a loss has this name; give it another one")
        if not (isinstance(value, Tensor) and value.shape == ()):
            raise BenchError(f"{where}: it must be a scalar tensor, not {_described(value)}")


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    return f"{type(value).__name__} {value!r}"[:80]


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
