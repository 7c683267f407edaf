"""What stands in for a cluster, a GPU and packages that aren't installed while released scripts run on the host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn


def _itself(thing: Any, *_: Any, **__: Any) -> Any:
    return thing


def _nothing(*_: Any, **__: Any) -> None:
    return None


class OneProcessSampler(torch.utils.data.distributed.DistributedSampler[Any]):
    """The distributed sampler of a single process, which needs no process group."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, num_replicas=1, rank=0)


@contextmanager
def one_process_on_the_host() -> Iterator[list[float]]:
    """Leave tensors and modules on the host, and let a single process be all of a distributed run.

    Yields:
        The scalars that the run would add up over its processes, in their order.
    """
    summed = list[float]()

    def add_up(value: Tensor, *_: Any) -> None:
        if value.numel() == 1:
            summed.append(float(value.detach()))

    replaced: list[tuple[Any, str, Any]] = [
        (Tensor, "cuda", _itself),
        (nn.Module, "cuda", _itself),
        (nn.SyncBatchNorm, "convert_sync_batchnorm", _itself),
        (nn.parallel, "DistributedDataParallel", _itself),
        (torch.utils.data.distributed, "DistributedSampler", OneProcessSampler),
        (torch.distributed, "barrier", _nothing),
        (torch.distributed, "all_reduce", add_up),
        (torch.distributed, "get_rank", lambda: 0),
        (torch.distributed, "get_world_size", lambda: 1),
    ]
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(patch.object(owner, name, value))
        stack.enter_context(patch.dict("os.environ", {"LOCAL_RANK": "0"}))
        yield summed


@contextmanager
def modules(contents: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Give modules of these dotted names and contents to whatever imports them."""
    before = {name: sys.modules.get(name) for name in contents}
    for name, content in contents.items():
        sys.modules[name] = module = ModuleType(name)
        module.__dict__.update(content)
    try:
        yield
    finally:  # one by one: modules that were imported meanwhile stay, as some can't be imported twice
        for name, module_before in before.items():
            if module_before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module_before


class Silent:
    """Takes any call and does nothing: a writer of logs."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


class Over(Exception):  # noqa: N818 - no error: all steps that were wanted have been taken
    """Ends a released script's training loop, raised by what stands in for its loader."""


def recording(optimizer: type[torch.optim.Optimizer], kept: list[dict[int, Tensor]]) -> type[torch.optim.Optimizer]:
    """Return an optimizer's class that keeps each step's gradients, by the parameters' identity, in front of the step."""

    class Recording(optimizer):  # type: ignore[valid-type, misc]
        def step(self, closure: Any = None) -> Any:
            parameters = [p for group in self.param_groups for p in group["params"]]
            kept.append({id(p): p.grad.clone() for p in parameters if p.grad is not None})
            return super().step(closure)

    return Recording
