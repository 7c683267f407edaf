"""Means of named scalars over the steps between two lines of metrics, summed up on the device without waiting for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Means:
    """Sums of named scalars, as one float32 tensor, so that adding a step's is one launch.

    Args:
        device: of the scalars.

    Attributes:
        names: of the scalars since the last :meth:`take`.
        sums: of each.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: tuple[str, ...] = ()
        self.sums = torch.zeros(0, device=device)

    def add(self, names: Sequence[str], values: Tensor) -> None:
        """Add one value (n,) to each name; a name that is new, or that is left out, had or has 0."""
        if tuple(names) != self.names:
            known = self.state()
            self.names = tuple(dict.fromkeys((*self.names, *names)))
            absent = torch.zeros((), device=self.device)
            self.sums = torch.stack([known.get(name, absent) for name in self.names])
            new = dict(zip(names, values.unbind(), strict=True))
            values = torch.stack([new.get(name, absent) for name in self.names])
        self.sums = self.sums + values

    def take(self, steps: int) -> dict[str, float]:
        """Return the mean of each over so many steps, and begin anew (waits for the device)."""
        totals: list[float] = self.sums.tolist()
        means = {name: total / steps for name, total in zip(self.names, totals, strict=True)}
        self.names, self.sums = (), self.sums[:0]
        return means

    def not_finite(self) -> list[str]:
        """Return the names whose sum isn't finite (waits for the device)."""
        totals: list[float] = self.sums.tolist()
        return [name for name, total in zip(self.names, totals, strict=True) if not math.isfinite(total)]

    def state(self) -> dict[str, Tensor]:
        """Return what :meth:`load` takes: the sum of each name."""
        return {name: total.clone() for name, total in zip(self.names, self.sums.unbind(), strict=True)}

    def load(self, sums: Mapping[str, Tensor]) -> None:
        """Go on from a state; raises TypeError, ValueError or RuntimeError where it is none."""
        values = {str(name): float(total) for name, total in sums.items()}
        self.names = tuple(values)
        self.sums = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
