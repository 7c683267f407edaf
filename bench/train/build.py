"""Builds what a cell names: dataset, augmentation, networks and method, with weights that its init seed decides."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from bench.seeds import derive
from bench.spec.cell import Cell
from methods._base import Build, Method


def _network_factory(cell: Cell, num_classes: int) -> Callable[[], nn.Module]:
    count = 0

    def make() -> nn.Module:
        nonlocal count
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(cell.seeds.init, "network", count))
            network: nn.Module = cell.network.cls(cell.network.config, num_classes)
        count += 1
        return network

    return make


def build_method(cell: Cell, num_classes: int) -> Method:
    """Build a cell's method on the CPU; the same cell gives the same weights on every machine."""
    seed = derive(cell.seeds.init, "method")
    build = Build(num_classes, _network_factory(cell, num_classes), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = cell.method.cls(cell.method.config, build)
    return method


def pick_device(wanted: str) -> torch.device:
    """Return the device for ``resources.device``."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)
