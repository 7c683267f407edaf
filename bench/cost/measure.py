"""Takes a cell's real steps on its real data, without leaving a trace in its run, and says how long they take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bench.cost.clock import StepClock
from bench.data.roots import DataRoots, open_dataset
from bench.data.splits import load_split
from bench.spec.cell import Cell
from bench.spec.resources import Resources
from bench.store.throughput import Throughput
from bench.train.build import build_loader, build_reader, build_stepper
from bench.train.evaluate import evaluate
from bench.train.loader import Loader
from bench.train.reader import Reader
from bench.train.setup import hardware, set_up_torch
from bench.train.step import Stepper
from methods.base import Batch

if TYPE_CHECKING:
    from bench.plan.cells import PlannedCell
    from bench.plan.request import Request

WARM_UP = 3  # steps before anything counts
EVALUATED = 32  # images on which an evaluation is timed


@dataclass(frozen=True)
class Speed:
    """What was found of one cell.

    Attributes:
        planned: the cell.
        throughput: seconds per step and per evaluation.
        images_per_step: labelled and unlabelled images of a step.
        waited: share of the time that the loop waited for data.
        phases: seconds of a step per phase (see ``bench.cost.clock.PHASES``), measured on steps of their own.
        operators: (name, calls, seconds) of a step's costliest operators; empty if they were not asked for.
    """

    planned: PlannedCell
    throughput: Throughput
    images_per_step: int
    waited: float
    phases: dict[str, float]
    operators: list[tuple[str, int, float]]

    @property
    def shares(self) -> dict[str, float]:
        """Share of each phase in a step."""
        whole = sum(self.phases.values())
        return {name: seconds / whole for name, seconds in self.phases.items()}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _long_enough(cell: Cell, steps: int) -> Cell:
    """Return the cell with so many iterations, if it has fewer."""
    iterations = max(cell.schedule.iterations, steps)
    return replace(cell, schedule=cell.schedule.model_copy(update={"iterations": iterations}))


def _timed(stepper: Stepper, loader: Loader, steps: Iterable[Iterator[Batch]]) -> tuple[float, float]:
    """Take steps; return seconds and seconds waited for data, per step."""
    _synchronise(stepper.device)
    begin, waited, count = time.perf_counter(), loader.waited, 0
    for batches in steps:
        stepper.take(batches)
        count += 1
    _synchronise(stepper.device)
    return (time.perf_counter() - begin) / count, (loader.waited - waited) / count


def _evaluation(stepper: Stepper, reader: Reader) -> float:
    """Return the seconds that an evaluation of the whole split takes, by the throughput of its first images."""
    cell, dataset = stepper.cell, reader.dataset
    ids = dataset.ids(dataset.config.eval_split)
    some = ids[:EVALUATED]
    begin = time.perf_counter()
    predictor, pairs = stepper.method.predictor, reader.pairs(some)
    classes, name = len(dataset.classes), lambda place: reader.name(some[place])
    evaluate(predictor, pairs, classes, cell.evaluation, stepper.device, cell.numerics, name=name)
    return (time.perf_counter() - begin) * len(ids) / len(some)


def _operators(stepper: Stepper, batches: Iterator[Batch], count: int) -> list[tuple[str, int, float]]:
    """Return the costliest operators of a step: name, calls, seconds without those they call."""
    from torch.profiler import ProfilerActivity, profile

    cuda = stepper.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        stepper.take(batches)
        _synchronise(stepper.device)
    time_of = "self_device_time_total" if cuda else "self_cpu_time_total"
    found = sorted(profiler.key_averages(), key=lambda event: float(getattr(event, time_of)), reverse=True)
    return [(str(e.key), int(e.count), float(getattr(e, time_of)) / 1e6) for e in found[:count]]


def measure(planned: PlannedCell, request: Request, resources: Resources, steps: int, operators: int = 0) -> Speed:
    """Measure a cell: `steps` steps without a clock, as many with a clock per phase, and an evaluation.

    Args:
        planned: the cell.
        request: for the store, which keeps the split, and the data folders.
        resources: device, threads, cache.
        steps: to take of each kind.
        operators: how many of the costliest operators to list.
    """
    cell = _long_enough(planned.cell.from_scratch(), WARM_UP + 2 * steps + 1)
    device = set_up_torch(resources, cell.numerics)
    dataset = open_dataset(cell.dataset, DataRoots.parse(request.data))
    split = load_split(request.store, cell.split_sha256)
    stepper = build_stepper(cell, len(dataset.classes), device, resources.compile)
    reader = build_reader(cell, dataset, split, resources, device)
    loader = build_loader(stepper, reader, split, resources)
    stepper.method.train()
    loaded = loader.steps(0)
    _timed(stepper, loader, itertools.islice(loaded, WARM_UP))
    seconds, waited = _timed(stepper, loader, itertools.islice(loaded, steps))
    clock = StepClock(device)
    with clock:
        _timed(stepper, loader, itertools.islice(loaded, steps))
    found = _operators(stepper, next(loaded), operators) if operators else []
    throughput = Throughput(seconds, _evaluation(stepper, reader), hardware(device), "speed")
    phases = {name: value / steps for name, value in clock.seconds.items()}
    return Speed(planned, throughput, loader.images_per_step, waited / seconds, phases, found)


def as_json(speed: Speed) -> dict[str, Any]:
    """Return plain values for programs."""
    throughput = speed.throughput
    return {
        "method": speed.planned.coords["method"],
        "cell": speed.planned.cell.id,
        "hardware": throughput.hardware,
        "seconds_per_step": throughput.seconds_per_step,
        "steps_per_second": 1 / throughput.seconds_per_step,
        "images_per_second": speed.images_per_step / throughput.seconds_per_step,
        "seconds_per_evaluation": throughput.seconds_per_evaluation,
        "data_wait_share": speed.waited,
        "phases": speed.phases,
        "hours": throughput.seconds(speed.planned.cell) / 3600,
        "operators": [dict(zip(("name", "calls", "seconds"), row, strict=True)) for row in speed.operators],
    }
