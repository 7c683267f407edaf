"""A queue of representations per class, of fixed size, in a module's state: nothing in it waits for the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def drawn_from(mask: Tensor, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw up to `count` of the chosen columns of each row, without replacement.

    Args:
        mask: (K, P) bool, which columns may be drawn.
        order: (P,) uniform in [0, 1), independent; each row takes them from another place on, so that rows differ.
        count: n.

    Returns:
        Columns (K, n) int64, n at most P, and whether each is one of the chosen (K, n) bool; those come first.
    """
    shift = torch.arange(len(mask), device=mask.device).div(len(mask))
    keys = (order + shift[:, None]).remainder(1)
    found = torch.where(mask, keys, -1).topk(min(count, mask.shape[1]))
    return found.indices, found.values >= 0


class MemoryBank(nn.Module):
    """The latest representations of each class, at unit length.

    Args:
        classes: K.
        size: the most that is kept of a class.
        width: D.

    Attributes:
        rows: (K · (size + 1), D); the last row of each class takes what is not to be kept.
        written: (K,) how many representations a class has had.
    """

    rows: Tensor
    written: Tensor

    def __init__(self, classes: int, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("rows", torch.zeros(classes * (size + 1), width))
        self.register_buffer("written", torch.zeros(classes, dtype=torch.int64))

    @torch.no_grad()
    def add(self, representation: Tensor, mask: Tensor, order: Tensor, most: int) -> None:
        """Add up to `most` of the chosen representations of each class, in place of its oldest.

        Args:
            representation: (P, D).
            mask: (K, P) bool, which of them each class may get.
            order: see :func:`drawn_from`.
            most: per class, at most `size` of which are kept.
        """
        index, there = drawn_from(mask, order, min(most, self.size))
        place = (self.written[:, None] + torch.arange(index.shape[1], device=index.device)) % self.size
        first = torch.arange(len(mask), device=index.device)[:, None] * (self.size + 1)
        place = first + torch.where(there, place, self.size)
        self.rows[place.flatten()] = F.normalize(representation.float(), dim=1)[index.flatten()]
        self.written += there.sum(1)

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return places in `rows` drawn with replacement from each class, (K, …) int32, and whether it has any, (K,) bool.

        Args:
            uniform: (K, …) in [0, 1).
        """
        filled = self.written.clamp(max=self.size)
        shape = (-1, *[1] * (uniform.ndim - 1))
        first = torch.arange(len(filled), device=filled.device).mul(self.size + 1)
        index = first.view(shape) + (uniform * filled.view(shape)).long()
        return index.to(torch.int32), filled > 0
