"""Peak memory of a cell, predicted on any machine: real steps and evaluations on tensors that have a shape but no memory.

They run under ``FakeTensorMode`` on the CPU, whatever the cell's device: without a CUDA driver, PyTorch can't run a
backward pass on fake CUDA tensors. Everything else is a GPU's: the versions of this project's algorithms
(``bench.kernels``), autocast's choice of types, the allocator (``bench.cost.allocator``) and cuBLAS's workspace. What a
kernel takes within itself isn't seen, cuDNN's workspaces among them: :func:`needed` has a margin for it. A method whose work
depends on data takes its worst case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench import kernels
from bench.arrays import UInt8
from bench.cost.allocator import Allocator
from bench.cost.device_bytes import CudaAutocast, DeviceBytes
from bench.cost.rehearsed import Rehearsed
from bench.cost.scored import Scored, evaluate_blank, scored_by, windowed
from bench.data.roots import DataRoots, open_dataset
from bench.files import REPOSITORY, read_json, write_json
from bench.registry import plugin_paths
from bench.spec.cell import Cell, canonical
from bench.spec.resources import Resources
from bench.train.build import build_loader, build_method, divide
from bench.train.evaluate import PHASE
from bench.train.meters import MemoryReport, StepMeter
from bench.train.step import Stepper
from datasets.split import Split

CPU = torch.device("cpu")
# What a GPU holds beside the allocator's segments, and what the model may miss; not measured on a GPU yet.
CONTEXT_BYTES = 500_000_000  # the CUDA context with the kernels of PyTorch, cuBLAS and cuDNN: 0.4 to 0.6 GB
CUDNN_BYTES = 500_000_000  # the largest workspace of cuDNN's deterministic convolutions, which the allocator holds
NCCL_BYTES = 500_000_000  # the buffers through which several processes exchange tensors; outside the allocator
MARGIN = 0.05  # of the reserved bytes; on the no-op runtime the model misses them by 2 % at most
STEPS = 3  # optimizer state is there from the second one on, and takes its place among blocks that the first one left


class Prediction(TypedDict, total=False):
    """The memory that a cell will need, in bytes; or why that can't be predicted.

    Attributes:
        meter, phases, peak_memory_bytes: see ``MemoryReport``: what tensors take, in a step and in the largest batch of an
            evaluation.
        training_bytes, evaluation_bytes: likewise, of the step and of that batch; `evaluated` says which batch it is, and
            `evaluation_mode` under which mode. None of them without an evaluation.
        window, window_bytes: where whole images take more than the step, a window (height, width) that could be slid over
            them, and what it would take.
        reserved_bytes: what the allocator takes from the GPU for all of it.
        needed_bytes: what the GPU should have, with context, workspaces and a margin (see :func:`needed`).
        fits: whether that is within a given GPU's memory, where one was given.
        error: the reason, where there is no prediction.
    """

    meter: str
    phases: dict[str, int]
    peak_memory_bytes: int
    training_bytes: int
    evaluation_bytes: int
    evaluated: str
    evaluation_mode: str
    window: tuple[int, int]
    window_bytes: int
    reserved_bytes: int
    needed_bytes: int
    fits: bool
    error: str


class BlankImages:
    """Black images of a shape; no data set is read."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def image(self, image_id: str) -> UInt8:
        """Return zeros (H, W, 3)."""
        return np.zeros((*self.size, 3), np.uint8)

    def mask(self, image_id: str) -> UInt8:
        """Return zeros (H, W)."""
        return np.zeros(self.size, np.uint8)


def _channels_last(method: nn.Module) -> None:
    """Do what ``Module.to(memory_format=…)`` refuses to do with fake parameters."""
    for module in method.modules():
        for name, old in module._parameters.items():
            if old is not None and old.dim() == 4:
                new = old.detach().contiguous(memory_format=torch.channels_last)
                module._parameters[name] = nn.Parameter(new, requires_grad=old.requires_grad)


def measure_blank_step(
    cell: Cell, num_classes: int, scored: Sequence[Scored] = (), processes: int = 1
) -> tuple[MemoryReport, Allocator, list[int]]:
    """Take steps of a cell on black images, then evaluate; return the memory of the last step, the allocator's, and peaks.

    The allocator is a model of a GPU's; there is a peak in bytes for each batch that is evaluated. Of several processes it
    is the first one that is measured, which evaluates alone.

    Under ``FakeTensorMode`` this is a prediction; without it, a measurement of the same step (see ``StepMeter.report``).
    """
    with torch.random.fork_rng(devices=[]):
        method = build_method(cell, num_classes)
        with DeviceBytes(method) as alive:
            if cell.numerics.channels_last:
                _channels_last(method)
            method.train()
            group = Rehearsed(processes) if processes > 1 else None
            divide(cell, method, group)
            stepper = Stepper(cell, method, CPU, group=group)
            images = BlankImages(cell.augmentation.config.crop_size)
            loader = build_loader(stepper, images, Split(("labelled",), ("unlabelled",)), Resources())
            # In the middle of the run: some methods leave out a loss at its beginning.
            iterations = cell.schedule.iterations
            stepper.done = max(0, min(iterations // 2, iterations - STEPS))
            for step in range(stepper.done, stepper.done + STEPS):
                meter = StepMeter(CPU, method, stepper.optimizer, alive)
                with meter:
                    stepper.take(loader.batches(step))
            found, peaks = meter.report(), []
            for batch in scored:
                with StepMeter(CPU, method, stepper.optimizer, alive) as meter:
                    evaluate_blank(method.predictor, batch, num_classes, cell.numerics)
                peaks.append(meter.report()["peak_memory_bytes"])
    return found, alive.allocator, peaks


def predict_step(cell: Cell, num_classes: int, scored: Sequence[Scored] = (), processes: int = 1) -> Prediction:
    """Return the predicted memory of a cell on a GPU in bytes; or `error`, why there is no prediction.

    Args:
        cell: whose step it is.
        num_classes: K.
        scored: the largest batch of each of its evaluations (see ``bench.cost.scored``); none leaves them out.
        processes: that train the cell, each on a GPU of its own; the prediction is the first one's.
    """
    try:
        return _predicted(cell.from_scratch(), num_classes, scored, processes)
    except Exception as error:  # foreign methods may do what fake tensors can't
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def _predicted(cell: Cell, num_classes: int, scored: Sequence[Scored], processes: int) -> Prediction:
    found, allocator, peaks = _measure_fake(cell, num_classes, scored, processes)
    reserved, training = allocator.peak_reserved, found["peak_memory_bytes"]
    prediction: Prediction = {
        "meter": found["meter"],
        "phases": found["phases"],
        "peak_memory_bytes": training,
        "reserved_bytes": reserved,
        "needed_bytes": needed(reserved) + (NCCL_BYTES if processes > 1 else 0),
    }
    if not scored:
        return prediction
    largest, peak = max(zip(scored, peaks, strict=True), key=lambda one: one[1])
    whole: Prediction = {
        **prediction,
        "phases": {**found["phases"], PHASE: peak},
        "peak_memory_bytes": max(training, peak),
        "training_bytes": training,
        "evaluation_bytes": peak,
        "evaluated": largest.words,
        "evaluation_mode": largest.evaluation.mode,
    }
    other = windowed(largest, cell, num_classes) if largest.evaluation.mode == "whole" and peak > training else None
    if other is None or other.evaluation.size is None:
        return whole
    *_, (window_peak,) = _measure_fake(cell, num_classes, [other])
    return {**whole, "window": other.evaluation.size, "window_bytes": window_peak}


def predict_report(cell: Cell, num_classes: int) -> MemoryReport:
    """Return the predicted memory of a cell's step on a GPU by phase; see :func:`predict_step`."""
    return _measure_fake(cell, num_classes, ())[0]


def _measure_fake(
    cell: Cell, num_classes: int, scored: Sequence[Scored], processes: int = 1
) -> tuple[MemoryReport, Allocator, list[int]]:
    with FakeTensorMode(allow_non_fake_inputs=True), kernels.assuming("cuda"), CudaAutocast():
        return measure_blank_step(cell, num_classes, scored, processes)


def needed(reserved: int) -> int:
    """Return the bytes of a GPU that a step with so many reserved by the allocator should have, with margin."""
    return round(reserved * (1 + MARGIN)) + CONTEXT_BYTES + CUDNN_BYTES


def code_hash() -> str:
    """Return the SHA-256 of the code that decides a step's memory, and of the version of PyTorch."""
    digest = hashlib.sha256(torch.__version__.encode())
    rooms = ("methods", "datasets", "bench/cost", "bench/train", "bench/spec")
    files = [path for room in rooms for path in sorted((REPOSITORY / room).rglob("*.py"))]
    files += sorted((REPOSITORY / "bench").glob("*.py"))
    for path in [*files, *(p for p in plugin_paths() if p.is_file())]:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def shape_of(cell: Cell, num_classes: int, scored: Sequence[Scored] = (), processes: int = 1) -> str:
    """Return canonical JSON of all that decides a cell's memory: cells that share it share a prediction."""
    parts = {k: getattr(cell, k).identity() for k in ("method", "network", "augmentation", "numerics")}
    schedule = cell.schedule.model_dump(mode="json", include={"batch", "accumulate"})
    optimizer = cell.optimizer.model_dump(mode="json", include={"name", "momentum", "clip_norm"})
    batches = [
        (
            batch.evaluation.model_dump(mode="json", include={"mode", "size", "stride", "boundary"}),
            batch.words,
            batch.spare,
        )
        for batch in scored
    ]
    parts |= {"schedule": schedule, "optimizer": optimizer}
    return canonical({**parts, "classes": num_classes, "scored": batches, "processes": processes})


class Predictions:
    """Predictions, made once per shape and kept in the store.

    Args:
        store: the run store; they are kept in its ``.cache/predictions``.
        roots: where the datasets lie, for their number of classes and the sizes of evaluated images.
    """

    def __init__(self, store: Path, roots: DataRoots) -> None:
        self.store = store
        self.folder, self.roots = store / ".cache" / "predictions", roots
        self.code = code_hash()

    def of(self, cell: Cell, processes: int = 1) -> Prediction:
        """Return a cell's prediction (see :func:`predict_step`)."""
        dataset = open_dataset(cell.dataset, self.roots)
        classes, scored = len(dataset.classes), scored_by(cell, dataset, self.store)
        key = hashlib.sha256(f"{self.code} {shape_of(cell, classes, scored, processes)}".encode()).hexdigest()[:24]
        path = self.folder / f"{key}.json"
        try:
            known = read_json(path)
        except ValueError:
            known = None
        if known is None:
            known = predict_step(cell, classes, scored, processes)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, known)
        prediction: Prediction = known
        return prediction
