"""The cell in which a part is tried: the recipe of ``recipe.yaml``, with that part in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.check.toy import CLASSES, ToyImages
from bench.spec.cell import PARTS, SECTIONS, Cell, Part, part_mapping, resolve_part
from bench.spec.messages import validate
from bench.spec.network import own_network
from bench.spec.resources import Resources
from bench.train.build import build_loader, build_method, build_stepper
from bench.train.loader import Loader
from bench.train.step import Stepper
from bench.yaml import Raw, read_yaml
from datasets.base import DatasetConfig
from datasets.split import Split
from methods.base import Method

Make = Callable[[int], Method]  # init seed to a method in training mode
CPU = torch.device("cpu")


@cache
def _recipe() -> Raw:
    found: Raw = read_yaml(Path(__file__).with_name("recipe.yaml"))
    return found


def default(kind: str) -> Any:
    """Return what the recipe has of a kind of part."""
    return _recipe()[kind]


def toy_cell(method: Part, network: Part | None = None, **sections: Any) -> Cell:
    """Return a cell of a method on toy images.

    Args:
        method: the method.
        network: in place of the recipe's; a method that brings its own takes that.
        sections: of a grid, over those of the recipe.
    """
    recipe = _recipe()
    chosen = network or resolve_part("network", recipe["network"], "network")
    own = own_network(chosen, method)
    parts: dict[str, Part] = {
        "dataset": Part("dataset", "", DatasetConfig()),
        "protocol": resolve_part("protocol", recipe["protocol"], "protocol"),
        "method": method,
        "network": chosen if own is None else resolve_part("network", own, "network"),
        "augmentation": resolve_part("augmentation", recipe["augmentation"], "augmentation"),
    }
    assert set(parts) == set(PARTS)
    values: Raw = {
        name: validate(model, recipe.get(name, {}) | sections.get(name, {}), name) for name, model in SECTIONS.items()
    }
    return Cell(**parts, **values, split_sha256="")  # type: ignore[arg-type]


def part_of(kind: Any, name: str, options: Raw) -> Part:
    """Return a registered class with its options.

    Raises:
        BenchError: for an unknown name or option, or an impossible value.
    """
    return resolve_part(kind, {**part_mapping(kind, name, kind), **options}, f"{kind} '{name}'")


def making(cell: Cell) -> Make:
    """Return what builds a cell's method, by its init seed."""

    def make(seed: int) -> Method:
        seeds = cell.seeds.model_copy(update={"init": seed})
        other = Cell(**{**vars_of(cell), "seeds": seeds})
        return build_method(other, CLASSES).train()

    return make


def vars_of(cell: Cell) -> dict[str, Any]:
    """Return a cell's fields."""
    return {name: getattr(cell, name) for name in cell.__dataclass_fields__}


def training(cell: Cell) -> tuple[Stepper, Loader]:
    """Return what takes a cell's steps, and its batches of toy images."""
    stepper = build_stepper(cell, CLASSES, CPU)
    stepper.method.train()
    split = Split(ToyImages.labelled, ToyImages.unlabelled)
    return stepper, build_loader(stepper, ToyImages(), split, Resources())


def take(stepper: Stepper, loader: Loader, steps: int) -> list[dict[str, float]]:
    """Take steps; return each step's losses.

    Raises:
        Diverged: if one wasn't finite.
    """
    history = []
    for step in range(stepper.done, stepper.done + steps):
        stepper.take(loader.batches(step))
        stepper.check_finite()
        history.append(stepper.take_means()[0])
    return history


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that take a gradient."""
    return [p for p in module.parameters() if p.requires_grad]
