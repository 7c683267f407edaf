"""A whole training step of each method: time and memory against the bare network, and ReCo's against the authors' code.

``python -m tests.benchmarks.bench_step [--rounds N] [--precision bf16] [METHOD …]``. ResNet-50 from scratch, crop 161,
4 + 4 images, 21 classes (the setting in which the authors' step was first measured).

*loop*: the project's steps as a run takes them, data included. *bare*: the same forward and backward passes of student
and teacher on tensors ready in memory, plain SGD, nothing else. *authors*: their step (ClassMix and ReCo) on the same
shapes, batches ready in memory; it takes part when ``BENCH_RECO_CHECKOUT`` names a checkout of github.com/lorenmt/reco.
All take turns, the authors' in every third round; times are medians over the rounds, and so are ratios, of each round's
(with the quartiles in brackets). Memory is the peak of one step: of tensors alive on a CPU, of the
allocator on CUDA.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import torch
from torch import nn

from bench import registry
from bench.cost.clock import StepClock
from bench.machine import usable_cores
from bench.train.meters import StepMeter
from tests.benchmarks import authors
from tests.benchmarks.blobs import CLASSES
from tests.benchmarks.figures import Figure, note
from tests.benchmarks.subjects import Step, Subject, Times, plan_cells, take_turns

CROP, IMAGES, BACKBONE = 161, 4, "resnet50"
SAME_LOSSES = ("classmix", "mean_teacher", "supervised")  # whose losses need no more memory than the bare network's
CLOCKED = 3  # steps over which phases are timed
RARE = 3  # rounds of which the authors' step, ten times as long as ours, takes part in one


def authors_step(subject: Subject) -> Step:
    """Return the authors' step on the same batch."""
    unlabelled = subject.one_batch.unlabelled
    assert unlabelled is not None
    scale = subject.cell.augmentation.config.scale
    steps = authors.Steps(BACKBONE, CLASSES, CROP, scale, subject.device)
    labelled = subject.one_batch.labelled
    bf16 = subject.cell.numerics.precision == "bf16"
    step = authors.make_step(steps, labelled.image, labelled.label, unlabelled.weak)

    def in_precision() -> None:
        with torch.autocast(subject.device.type, torch.bfloat16, enabled=bf16):
            step()

    return in_precision


def peak(step: Step, weights: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> int:
    """Return the peak bytes of a step."""
    meter = StepMeter(device, weights, optimizer)
    with meter:
        step()
    return int(meter.report()["peak_memory_bytes"])


def phases(subject: Subject) -> dict[str, float]:
    """Return seconds of a step per phase."""
    clock = StepClock(subject.device)
    with clock:
        for _ in range(CLOCKED):
            subject.loop()
    return {name: seconds / CLOCKED for name, seconds in clock.seconds.items()}


def spread(times: Times) -> str:
    """Return the loop's time over the bare network's, with the quartiles over the rounds."""
    low, _, high = statistics.quantiles(times.ratios("loop", "bare"), method="inclusive")
    return f"{times.ratio('loop', 'bare'):.2f} ({low:.2f} to {high:.2f})"


def report(subject: Subject, rounds: int, precision: str) -> None:
    """Measure a method and print its line."""
    bare, weights, optimizer = subject.make_bare()
    versions: dict[str, Step] = {"loop": subject.loop, "bare": bare}
    if subject.name == "reco" and authors.CHECKOUT in os.environ:
        versions["authors"] = authors_step(subject)
    times = take_turns(versions, rounds, subject.device, {"authors": RARE})
    stepper = subject.stepper
    memory = (
        peak(subject.loop, stepper.method, stepper.optimizer, subject.device),
        peak(bare, weights, optimizer, subject.device),
    )
    of_memory = memory[0] / memory[1]
    line = f"{subject.name:<14}{times.median('loop'):8.3f}{times.median('bare'):8.3f}{spread(times):>20}"
    line += f"{memory[0] / 1e6:9.0f}{memory[1] / 1e6:9.0f}{of_memory:11.2f}"
    if "authors" in times:
        line += f"{times.median('authors'):11.2f}{times.ratio('authors', 'loop'):14.1f}"
    print(line, flush=True)
    share = phases(subject)
    print("              " + "  ".join(f"{k} {1e3 * v:.0f}" for k, v in share.items()) + "  ms")
    hand_over(subject, times, share, of_memory, precision)


def hand_over(subject: Subject, times: Times, share: dict[str, float], of_memory: float, precision: str) -> None:
    """Give `make bench` the figures that have an aim."""
    cuda, setting = subject.device.type == "cuda", f"{BACKBONE}, crop {CROP}, {IMAGES}+{IMAGES}, {precision}"
    extra = {k: v for k, v in share.items() if k not in ("teacher", "student", "backward")}
    largest = ", ".join(f"{k} {1e3 * v:.0f} ms" for k, v in sorted(extra.items(), key=lambda kv: -kv[1])[:3])
    parts = {**times.medians(), "ratios": times.ratios("loop", "bare"), "phases": share}
    value = times.ratio("loop", "bare")
    name, aim = f"step of {subject.name} ({setting})", 1.25 if cuda else 1.15
    reason = f"quartiles {spread(times)}; largest beside the passes: {largest}"
    note(Figure(name, "the bare network", value, "×", "<=", aim, reason, parts))
    if "authors" in times:
        aim = 8 if precision == "bf16" else 5
        name = f"ReCo's step ({setting})"
        note(Figure(name, "the authors' code", times.ratio("authors", "loop"), "×", ">=", aim, "", times.medians()))
    if subject.name in SAME_LOSSES:
        name = f"peak memory of a step of {subject.name} ({setting})"
        note(Figure(name, "the bare network", of_memory, "×", "<=", 1.1))


def main() -> None:
    """Print, per method, seconds and peak memory per step of each version and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2, or there are no quartiles")
    torch.set_num_threads(usable_cores())
    with tempfile.TemporaryDirectory() as name:
        folder, methods = Path(name), options.methods or registry.names("method")
        cells, request = plan_cells(folder, methods, BACKBONE, CROP, IMAGES, options.precision)
        where = f"{BACKBONE}, crop {CROP}, {IMAGES} + {IMAGES}, {CLASSES} classes, {options.precision}"
        print(f"{where}; {usable_cores()} threads")
        heads = (
            f"{'method':<14}{'loop s':>8}{'bare s':>8}{'loop/bare':>20}{'loop MB':>9}{'bare MB':>9}{'loop/bare':>11}"
        )
        print(heads + f"{'authors s':>11}{'authors/loop':>14}")
        for planned in cells:
            report(Subject(planned, request), options.rounds, options.precision)
    if authors.CHECKOUT not in os.environ:
        print(f"authors' code: skipped; set {authors.CHECKOUT} to a checkout of github.com/lorenmt/reco")


if __name__ == "__main__":
    main()
