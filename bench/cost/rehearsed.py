"""The first of several processes that train a cell, without the others: what it computes and holds is its own share."""

from __future__ import annotations

from torch import Tensor

from bench.train.group import Group


class Rehearsed(Group):
    """A group whose other processes have what this one has; nothing is sent.

    Shapes and storages are those of a real group, which is what a prediction of memory takes; numbers are not.
    """

    def __init__(self, size: int) -> None:
        super().__init__(0, size)

    def from_first(self, values: Tensor) -> None:
        """Leave values as they are: this is the first process."""

    def _collect(self, parts: Tensor, mine: Tensor) -> None:
        parts.copy_(mine.expand_as(parts))

    def _add_up(self, values: Tensor) -> None:
        values.mul_(self.size)
