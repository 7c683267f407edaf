"""Counts what a step of each method does on the no-op CUDA runtime; prints JSON. See ``test_steps.py``.

``python -m tests.gpu.steps BACKBONE CROP BATCH``, within ``tests.noop_cuda.environment()``.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.arrays import UInt8
from bench.phases import phase_watchers
from bench.spec.cell import Cell
from bench.spec.resources import Resources
from bench.spec.sections import Evaluation, Numerics
from bench.train.evaluate import evaluate
from bench.train.loader import Loader
from bench.train.metrics import confusion_matrix
from bench.train.setup import set_up_torch
from bench.train.step import Stepper
from methods.base import Batch, Method
from methods.losses.reco import draw, drawing
from methods.networks.mask_classifier import MaskClassifier
from tests.gpu.papers import make_cells, make_stepper
from tests.noop_cuda import convolutions
from tests.noop_cuda.counters import SYNCS, counting, launches, read

DEVICE = torch.device("cuda")
assert convolutions.library is not None  # imported so that convolutions run


class PhaseCounter:
    """Launches per phase of a step."""

    def __init__(self) -> None:
        self.launches: dict[str, int] = {}
        self._stack = ["other"]
        self._since = launches(read())

    def enter(self, name: str) -> None:
        self._count()
        self._stack.append(name)

    def leave(self) -> None:
        self._count()
        self._stack.pop()

    def _count(self) -> None:
        now, name = launches(read()), self._stack[-1]
        self.launches[name] = self.launches.get(name, 0) + now - self._since
        self._since = now


def set_up() -> None:
    """Run torch as a run does."""
    set_up_torch(Resources(device="cuda"), Numerics())


def bare_launches(method: Method, batch: Batch) -> int:
    """Return the launches of the network's own passes: those a method makes in a step, on the same images, and no loss.

    The student's forward and backward passes over all its images, and the teacher's forward pass.
    """
    images = [batch.labelled.image] + ([] if batch.unlabelled is None else [batch.unlabelled.weak])
    student = method.get_submodule("base.student" if hasattr(method, "base") else "student")
    with counting() as found:
        if batch.unlabelled is not None:
            with torch.inference_mode():
                _outputs(student, images[1])
        for image in images:
            outputs = _outputs(student, image)
            torch.autograd.backward(outputs, [torch.empty_like(x) for x in outputs])
    student.zero_grad(set_to_none=True)
    return found.launches


def _outputs(network: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    return list(network.regions(image)) if isinstance(network, MaskClassifier) else [network(image)]


def measure(cell: Cell) -> dict[str, Any]:
    """Return the counts of a step after two others, its launches per phase, and its memory."""
    stepper, loader = make_stepper(cell, DEVICE)
    for step in range(2):
        stepper.take(loader.batches(step))
    torch.cuda.reset_peak_memory_stats()
    counter = PhaseCounter()
    phase_watchers.append(counter)
    with counting() as found:
        stepper.take(loader.batches(2))
        counter.enter("end")
    phase_watchers.remove(counter)
    memory = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    (batch,) = loader.batches(3)
    return {
        **found.counts,
        "launches": found.launches,
        "syncs": found.syncs,
        "refused_syncs": refused_syncs(stepper, loader),
        "bare": bare_launches(stepper.method, batch),
        "phases": counter.launches,
        "allocated": memory[0],
        "reserved": memory[1],
    }


def refused_syncs(stepper: Stepper, loader: Loader) -> int:
    """Return how often a step waits for the device, as torch's sync debug mode sees it."""
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stepper.take(loader.batches(3))
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


class ConstantScores(nn.Module):
    """A predictor of 19 classes at a quarter of the image's side."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.new_zeros(len(image), 19, image.shape[2] // 4, image.shape[3] // 4)


def measure_evaluation() -> dict[str, Any]:
    """Return the counts of an evaluation of two Cityscapes images, and the launches of a confusion matrix."""
    size, device = (1024, 2048), DEVICE
    label = torch.zeros(size, dtype=torch.uint8, device=device)
    with counting() as matrix:
        confusion_matrix(label, label, 19)
    waited: list[int] = []

    def samples() -> Iterator[tuple[UInt8, UInt8]]:
        before = read()
        for _ in range(4):
            yield np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
            after = read()
            waited.append(sum(after[name] - before[name] for name in SYNCS))

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    # Nothing is counted on the device, so that there may be no score.
    with counting() as found, suppress(ValueError):
        evaluate(ConstantScores(), samples(), 19, Evaluation(batch_size=1), device)
    return {
        **found.counts,
        "waits_before_the_score": max(waited),
        "launches_of_a_matrix": matrix.launches,
        "peak_bytes": torch.cuda.max_memory_allocated(),
    }


def draws_are_a_cpus() -> bool:
    """Tell whether ReCo's random numbers on the device, drawn ahead, are those of a CPU; copies are real here."""
    ours = drawing(21, 16, 32, seed=7, device=DEVICE)()
    return all(torch.equal(a.cpu(), b) for a, b in zip(ours, draw(21, 16, 32, seed=7), strict=True))


def main() -> None:
    backbone, crop, batch = sys.argv[1:]
    set_up()
    found: dict[str, dict[str, Any]] = {}
    for name, cell in make_cells(backbone=backbone, crop=int(crop), batch=int(batch)).items():
        found[name] = measure(cell)
        torch.cuda.empty_cache()
    found["evaluation"] = measure_evaluation()
    found["draws"] = {"as_on_a_cpu": draws_are_a_cpus()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
