"""Whole training steps of a sweep: the recipe's own, and those that a series' setting makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.cost.sweep_spec import MemorySpec, Options, Series
from bench.spec.cell import Cell, part_mapping
from bench.spec.grid import Grid, expand
from bench.spec.messages import validate

if TYPE_CHECKING:
    import torch

Raw = dict[str, Any]


def base_cell(spec: MemorySpec, where: str) -> Cell | None:
    """Return the cell of the recipe as it is; None without one.

    Raises:
        BenchError: if it can't be a cell.
    """
    return None if spec.recipe is None else _cell(spec.recipe, {}, f"{where}: memory.recipe")


def step_cell(spec: MemorySpec, series: Series, values: Options, where: str) -> Cell | None:
    """Return the cell of one setting of a series; None where it has no step.

    Args:
        spec: with the recipe.
        series: whose `step` changes it.
        values: of the axes; those that are options of the method are set.
        where: of the series, for messages.

    Raises:
        BenchError: if they can't be a cell.
    """
    if series.step is None or spec.recipe is None:
        return None
    method = part_mapping("method", series.step.get("method", spec.recipe.get("method")), f"{where}.step.method")
    options = registry.get("method", str(method["name"])).Config.model_fields
    taken = {key: value for key, value in values.items() if key in options}
    return _cell(spec.recipe, {**series.step, "method": {**method, **taken}}, f"{where}.step")


def _cell(recipe: Raw, changes: Mapping[str, Any], where: str) -> Cell:
    from bench.data.roots import DataRoots
    from bench.plan.absent import UNKNOWN
    from bench.plan.cells import Resolver

    grid = validate(Grid, {"recipe": recipe, "axes": {"seed": [0]}}, where)
    (point,) = expand(grid, where, changes)
    return Cell(**Resolver(where, DataRoots()).recipe(point.raw), split_sha256=UNKNOWN).from_scratch()


def step_bytes(cell: Cell, classes: int, mode: str, device: torch.device) -> int:
    """Return the bytes of a whole training step at its peak: of tensors alive; on CUDA of the allocator.

    Args:
        cell: whose steps are taken, on black images.
        classes: K.
        mode: `fake` predicts it for a GPU.
        device: where it runs otherwise.
    """
    from bench.cost.predict import measure_blank_step, predict_report

    if mode == "fake":
        return predict_report(cell, classes)["peak_memory_bytes"]
    if device.type == "cuda":
        return _on_cuda(cell, classes, device)
    report, *_ = measure_blank_step(cell, classes)
    return report["peak_memory_bytes"]


def _on_cuda(cell: Cell, classes: int, device: torch.device) -> int:
    from bench.cost.predict import STEPS, BlankImages
    from bench.spec.resources import Resources
    from bench.train.build import build_loader, build_stepper
    from bench.train.meters import StepMeter
    from datasets.split import Split

    stepper = build_stepper(cell, classes, device)
    stepper.method.train()
    images = BlankImages(cell.augmentation.config.crop_size)
    loader = build_loader(stepper, images, Split(("labelled",), ("unlabelled",)), Resources())
    for step in range(STEPS):
        with StepMeter(device, stepper.method, stepper.optimizer) as meter:
            stepper.take(loader.batches(step))
    return meter.report()["peak_memory_bytes"]
