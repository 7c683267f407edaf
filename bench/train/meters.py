"""The memory of one step, per phase: what every run records of an early step and of its first evaluation."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from bench.phases import phase_watchers
from bench.train.tensor_bytes import TensorBytes

OTHER = "other"  # what no phase claims


class MemoryReport(TypedDict, total=False):
    """The memory of a step, or of an evaluation, in bytes; memory.json has both together.

    Attributes:
        meter: what was counted: `tensors alive`, or `CUDA allocator`.
        phases: peak per phase; `evaluation` is that of a whole evaluation.
        peak_memory_bytes: of the whole.
        peak_rss_bytes: of the process.
        reserved: on CUDA, reserved by the allocator per phase.
        peak_reserved_bytes: on CUDA, of the whole.
    """

    meter: str
    phases: dict[str, int]
    peak_memory_bytes: int
    peak_rss_bytes: int
    reserved: dict[str, int]
    peak_reserved_bytes: int


def whole_run(device: torch.device) -> dict[str, int]:
    """Return peak memory in bytes: of the process, and of the CUDA device since its last reset where there is one."""
    found = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if device.type == "cuda":
        found["peak_memory_bytes"] = torch.cuda.max_memory_allocated(device)
        found["peak_reserved_bytes"] = torch.cuda.max_memory_reserved(device)
    return found


def meter_only_looks(device: torch.device, compiled: bool) -> bool:
    """Tell whether a step under :class:`StepMeter` computes the same bits as without it.

    Tensors on a CPU are counted by a dispatch mode, under which torch compiles other graphs: the steps after the start of
    an attempt would differ from those of a run that wasn't interrupted.
    """
    return device.type == "cuda" or not compiled


class StepMeter:
    """Measures peak bytes per phase while it is entered; on CUDA the allocator's, on a CPU those of tensors alive.

    It only looks (see :func:`meter_only_looks`): a measured step computes the same bits as any other. Fake tensors count
    as if they were real, which is how memory is predicted.

    Args:
        device: where the step runs.
        method: its parameters, buffers and gradients exist already.
        optimizer: so does its state.
        alive: counts already, and goes on when this meter is left; None makes one for a CPU.
    """

    def __init__(
        self,
        device: torch.device,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        alive: TensorBytes | None = None,
    ) -> None:
        self.device = device
        self.phases: dict[str, int] = {}
        self.reserved: dict[str, int] = {}
        self._stack = [OTHER]
        self._alive, self._entered = alive, alive is not None
        if alive is None and device.type != "cuda":
            self._alive = TensorBytes(method.parameters(), method.buffers(), _state(optimizer))

    def __enter__(self) -> StepMeter:
        """Begin."""
        if self._alive is None:
            torch.cuda.reset_peak_memory_stats(self.device)
        elif self._entered:
            self._alive.reset_peak()
        else:
            self._alive.__enter__()  # type: ignore[no-untyped-call]
        phase_watchers.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        phase_watchers.remove(self)
        self._note()
        if self._alive is not None and not self._entered:
            self._alive.__exit__(*error)  # type: ignore[no-untyped-call]

    def enter(self, name: str) -> None:
        """Note the outer phase's peak and begin another."""
        self._note()
        self._stack.append(name)

    def leave(self) -> None:
        """Note the phase's peak and go back to the outer one."""
        self._note()
        self._stack.pop()

    def _note(self) -> None:
        name = self._stack[-1]
        if self._alive is not None:
            self.phases[name] = max(self.phases.get(name, 0), self._alive.peak)
            self._alive.reset_peak()
            return
        self.phases[name] = max(self.phases.get(name, 0), torch.cuda.max_memory_allocated(self.device))
        self.reserved[name] = max(self.reserved.get(name, 0), torch.cuda.max_memory_reserved(self.device))
        torch.cuda.reset_peak_memory_stats(self.device)

    def report(self) -> MemoryReport:
        """Return bytes: peak per phase and of the whole step, on CUDA also reserved, and the process's peak RSS."""
        found: MemoryReport = {
            "meter": "tensors alive" if self._alive is not None else "CUDA allocator",
            "phases": self.phases,
            "peak_memory_bytes": max(self.phases.values()),
            "peak_rss_bytes": whole_run(torch.device("cpu"))["peak_rss_bytes"],
        }
        if self.reserved:
            found["reserved"] = self.reserved
            found["peak_reserved_bytes"] = max(self.reserved.values())
        return found


def _state(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
