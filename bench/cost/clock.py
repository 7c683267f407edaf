"""The time of a step, per phase."""

from __future__ import annotations

import time
from typing import Any

import torch

from bench.phases import phase_watchers

OTHER = "other"  # what no phase claims
PHASES = ("data", "teacher", "augment+mix", "student", "losses", "backward", "optimizer", OTHER)
_SHOWN = {"augment": "augment+mix", "ema": "optimizer"}


def shown(name: str) -> str:
    """Return under which of :data:`PHASES` a phase of a step is shown."""
    if name.startswith("loss"):
        return "losses"
    name = _SHOWN.get(name, name)
    return name if name in PHASES else OTHER


class StepClock:
    """Adds up seconds per phase while it is entered; time within an inner phase is not the outer one's.

    On CUDA it waits for the device at every border, so that kernels count where they were asked for; such a step is
    slower than one that isn't measured.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._device = device
        self._stack = [OTHER]
        self._since = 0.0

    def __enter__(self) -> StepClock:
        """Begin."""
        self._since = self._now()
        phase_watchers.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        phase_watchers.remove(self)
        self._count()

    def enter(self, name: str) -> None:
        """Count the outer phase's time and begin another."""
        self._count()
        self._stack.append(shown(name))

    def leave(self) -> None:
        """Count the phase's time and go back to the outer one."""
        self._count()
        self._stack.pop()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _count(self) -> None:
        now = self._now()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now
