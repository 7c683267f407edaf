"""The exponential moving average of a student's weights: the teacher."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.torch_private import copy_all_, lerp_all_

BufferPolicy = Literal["own", "copy", "average"]


def decay_at(step: int, decay: float) -> float:
    """Return the decay after step `step` (from 0): min(1 - 1/(step + 1), decay), so 0 after the first step.

    Source: the ReCo authors' ``EMA.update``.
    """
    return min(1 - 1 / (step + 1), decay)


class Ema(nn.Module):
    """A teacher whose parameters are the moving average of a student's. It takes no gradient.

    Args:
        student: is copied, so that both start equal.
        decay: the decay reached after the warm-up of :func:`decay_at`, in [0, 1).
        buffer_policy: where the teacher's batch-norm statistics come from. ``own``: from its own forward passes, in
            training mode (the ReCo, ClassMix and Mean Teacher authors' code: only parameters are averaged). ``copy``: the
            student's; ``average``: the moving average of the student's, as in French et al.'s code. With these two the
            teacher always runs in evaluation mode, so that its own passes don't alter them.
    """

    def __init__(self, student: nn.Module, decay: float, buffer_policy: BufferPolicy = "own") -> None:
        super().__init__()
        # Tensors are cloned by hand because deepcopy can't copy fake ones, with which memory is predicted.
        clones: dict[int, Tensor] = {id(buffer): buffer.clone() for buffer in student.buffers()}
        clones |= {id(p): nn.Parameter(p.detach().clone(), requires_grad=False) for p in student.parameters()}
        self.model = copy.deepcopy(student, clones)
        self.decay = decay
        self.buffer_policy = buffer_policy
        self.train(self.training)

    def train(self, mode: bool = True) -> Ema:
        """Set the mode; the model itself is in training mode only under the policy ``own``."""
        super().train(mode)
        self.model.train(mode and self.buffer_policy == "own")
        return self

    def forward(self, *args: Any) -> Any:
        """Run the teacher."""
        return self.model(*args)

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move towards the student, after an optimizer step; `step` counts the steps done before it, from 0."""
        weight = 1 - decay_at(step, self.decay)
        lerp_all_(list(self.model.parameters()), list(student.parameters()), weight)
        if self.buffer_policy == "own":
            return
        pairs = list(zip(self.model.buffers(), student.buffers(), strict=True))
        floats = [(own, new) for own, new in pairs if own.is_floating_point()]
        others = [(own, new) for own, new in pairs if not own.is_floating_point()]
        if self.buffer_policy == "average":
            lerp_all_([own for own, _ in floats], [new for _, new in floats], weight)
        else:
            copy_all_([own for own, _ in floats], [new for _, new in floats])
        copy_all_([own for own, _ in others], [new for _, new in others])
