"""Processes that train one cell together: each runs the networks on its share of a batch, and all of them everything else.

A method sees the whole batch in every process, with the same draws; only the calls of its networks are divided, and what
they return is brought together again. So mixing, losses, their normalisation, contrasts and memory banks are those of one
process, whatever the method. Backward, dividing and bringing together are each other's gradients: what all processes have
has its whole gradient in each, and the networks' weights have a part of theirs, which are summed up before the optimizer's
step. Source of the pair: Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.errors import BenchError

PATIENCE = timedelta(minutes=15)  # for processes that don't answer; one that has ended is noticed at once
BUCKET = 32 << 20  # bytes of gradients that are summed up at a time
# What methods call of a network, and in which dimension of its output the images are; `batch_dimensions` of its class says
# it of further ones.
_CALLS: dict[str, tuple[int, ...]] = dict.fromkeys(("forward", "features", "encode", "decode", "classify"), (0,))


class Group:
    """This process among those that train a cell.

    Args:
        rank: its number, from 0.
        size: how many there are.
        announce: called where a step begins, before anybody waits for anybody.

    Attributes:
        stepping: whether a step is being taken. Otherwise this process computes alone, as for an evaluation.
        within: whether a network runs on this process's share.
    """

    def __init__(self, rank: int, size: int, announce: Callable[[], None] = lambda: None) -> None:
        self.rank, self.size, self.announce = rank, size, announce
        self.stepping = self.within = False
        self._networks = frozenset[int]()  # ids of the parameters whose gradients are in parts

    def join(self, meeting: Path, device: torch.device) -> None:
        """Wait until all processes are here; `meeting` is a file that is there for all of them and for nothing else."""
        store = dist.FileStore(str(meeting), self.size)  # type: ignore[attr-defined]
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE)

    @staticmethod
    def leave() -> None:
        """Undo :meth:`join`, where it was done."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Divide the calls of networks while it lasts."""
        self.announce()
        self.stepping = True
        try:
            yield
        finally:
            self.stepping = False

    # -- networks ------------------------------------------------------------------------------------------------------

    def divide(self, method: nn.Module, network: type[nn.Module]) -> None:
        """Have the networks of a method, which are of a class, run on this process's share of what they are given."""
        networks = [module for module in method.modules() if isinstance(module, network)]
        calls = {**_CALLS, **getattr(network, "batch_dimensions", {})}
        for one in networks:
            for name, dimensions in calls.items():
                if hasattr(one, name):
                    setattr(one, name, self._divided(getattr(one, name), dimensions))
            for child in one.children():
                child.register_forward_pre_hook(self._refuse_parts)
            for module in one.modules():
                if _draws(module):
                    module.forward = self._drawn_for_all(module.forward)
        self._networks = frozenset(id(p) for one in networks for p in one.parameters())

    def _divided(self, call: Callable[..., Any], dimensions: Sequence[int]) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            if not self.stepping or self.within:
                return call(*inputs)
            mine = [self._mine(one) for one in inputs]
            self.within = True
            try:
                output = call(*mine)
            finally:
                self.within = False
            return self._together(output, dimensions)

        return run

    def _mine(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._mine(one) for one in value]
        return _Divide.apply(value, self) if isinstance(value, Tensor) else value

    def _together(self, value: Any, dimensions: Sequence[int]) -> Any:
        if isinstance(value, Tensor):
            return _Gather.apply(value, dimensions[0], self)
        each = dimensions if len(dimensions) == len(value) else [dimensions[0]] * len(value)
        found = [self._together(one, (of,)) for one, of in zip(value, each, strict=True)]
        return type(value)(*found) if hasattr(value, "_fields") else type(value)(found)

    def _refuse_parts(self, module: nn.Module, _: Any) -> None:
        if self.stepping and not self.within:
            raise BenchError(
                f"the method runs a part of its network ({type(module).__name__}) by itself, which several processes can't "
                "divide: let it call the network's own features, encode, decode or classify, or set resources.processes: 1"
            )

    def _drawn_for_all(self, drop: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Have a module that drops at random draw for the whole batch, as one process does, and use this one's share."""

        def run(x: Tensor) -> Tensor:
            if not self.within:
                return drop(x)
            ones = torch.ones_like(x.detach()).repeat(self.size, *[1] * (x.ndim - 1))
            return x * drop(ones.contiguous(memory_format=_format(x)))[self.rank :: self.size]

        return run

    # -- collectives ---------------------------------------------------------------------------------------------------

    def share(self, whole: Tensor, dimension: int = 0) -> Tensor:
        """Return every `size`-th image, from the `rank`-th on: some of each kind, where kinds stand one after the other.

        Raises:
            BenchError: if the images can't be divided equally.
        """
        if whole.shape[dimension] % self.size:
            raise BenchError(
                f"the method gives a network {whole.shape[dimension]} images at once, which {self.size} processes can't "
                "share equally"
            )
        front = whole.movedim(dimension, 0)[self.rank :: self.size].movedim(0, dimension)
        return front.contiguous(memory_format=_format(whole))

    def gather(self, share: Tensor, dimension: int = 0) -> Tensor:
        """Return all processes' shares, in the order of the images."""
        last = dimension == 0 and _format(share) is torch.channels_last
        mine = (share.permute(0, 2, 3, 1) if last else share.movedim(dimension, 0)).contiguous()
        parts = mine.new_empty((self.size, *mine.shape))
        self._collect(parts, mine)
        whole = parts.transpose(0, 1).flatten(0, 1)
        return whole.permute(0, 3, 1, 2) if last else whole.movedim(0, dimension).contiguous()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes, the same bits in each."""
        total = values.clone()
        self._add_up(total)
        return total / self.size

    def from_first(self, values: Tensor) -> None:
        """Make values those of the first process, in place."""
        dist.broadcast(values, 0)

    def _collect(self, parts: Tensor, mine: Tensor) -> None:
        """Write what each process has, shaped (...), to (size, ...)."""
        dist.all_gather_into_tensor(parts.flatten().view(torch.uint8), mine.flatten().view(torch.uint8))

    def _add_up(self, values: Tensor) -> None:
        """Replace values by their sum over the processes."""
        dist.all_reduce(values)

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give each parameter its whole gradient, the same bits in every process."""
        waiting: list[nn.Parameter] = []
        for parameter in (p for p in parameters if p.grad is not None):
            if waiting and _bytes([*waiting, parameter]) > BUCKET:
                self._sum(waiting)
                waiting = []
            waiting.append(parameter)
        if waiting:
            self._sum(waiting)

    def _sum(self, parameters: Sequence[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._add_up(flat)
        totals = torch.split(flat, [gradient.numel() for gradient in gradients])
        for parameter, gradient, total in zip(parameters, gradients, totals, strict=True):
            # What isn't a network's has its whole gradient in each process.
            whole = total if id(parameter) in self._networks else total / self.size
            gradient.copy_(whole.view_as(gradient))


def _bytes(parameters: Sequence[nn.Parameter]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _format(x: Tensor) -> torch.memory_format:
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _draws(module: nn.Module) -> bool:
    """Tell whether a module drops elements, channels or whole images (torchvision's and timm's names) at random."""
    return type(module).__name__ in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "StochasticDepth", "DropPath")


class _Divide(torch.autograd.Function):
    """This process's share of what all have; its gradient brings the shares' together."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.share(whole)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.gather(gradient), None


class _Gather(torch.autograd.Function):
    """All processes' shares; its gradient, which all have, is divided."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, dimension: int, group: Group) -> Tensor:
        ctx.group, ctx.dimension = group, dimension
        return group.gather(share, dimension)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.group.share(gradient, ctx.dimension), None, None
