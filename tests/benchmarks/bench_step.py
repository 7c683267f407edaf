"""A whole training step of each method: against the bare network, and ReCo's against the authors' code.

``python -m tests.benchmarks.bench_step [--rounds N] [--precision bf16] [METHOD …]``. ResNet-50 from scratch, crop 161,
4 + 4 images, 21 classes (the setting in which the authors' step was first measured).

*loop*: the project's steps as a run takes them, data included. *bare*: the same forward and backward passes of student
and teacher on tensors ready in memory, plain SGD, nothing else. *authors*: their step (ClassMix and ReCo) on the same
shapes, batches ready in memory; it takes part when ``BENCH_RECO_CHECKOUT`` names a checkout of github.com/lorenmt/reco.
All take turns; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch.nn import functional as F

from bench import registry
from bench.data import DataRoots, open_dataset
from bench.environment import usable_cores
from bench.outline import Request
from bench.plan import PlannedCell, make_plan
from bench.spec.sections import Resources
from bench.store.run import Run
from bench.train.build import build_method, pick_device
from bench.train.loader import Loader
from bench.train.loop import Trainer
from bench.train.reader import Reader
from methods._base import Batch
from tests.benchmarks import authors
from tests.benchmarks.blobs import CLASSES

CROP, IMAGES, BACKBONE = 161, 4, "resnet50"
Step = Callable[[], None]


def make_grid(methods: list[str], precision: str) -> dict[str, object]:
    """Return the grid whose cells are measured."""
    return {
        "recipe": {
            "dataset": "blobs",
            "network": {"name": "deeplabv3plus", "backbone": BACKBONE},
            "augmentation": {"reco": {"crop_size": CROP}},
            "schedule": {"iterations": 10_000, "batch": {"labelled": IMAGES, "unlabelled": IMAGES}},
            "numerics": {"precision": precision},
        },
        "axes": {"method": methods, "protocol": ["full"]},
    }


class Subject:
    """One method's step in its versions.

    Args:
        planned: the cell.
        folder: where the loop may write.
    """

    def __init__(self, planned: PlannedCell, folder: Path) -> None:
        self.cell = cell = planned.cell
        self.name = planned.coords["method"]
        self.device = pick_device("auto")
        dataset = open_dataset(cell.dataset, DataRoots())
        ids = dataset.ids("train")
        method = build_method(cell, CLASSES).to(self.device).to(memory_format=torch.channels_last).train()
        schedule = cell.schedule.with_labelled_factor(method.labelled_batch_factor(cell.method.config))
        pool = ids[20:] if method.uses_unlabelled else ()
        augmentation, resources = cell.augmentation.cls(cell.augmentation.config), Resources()
        reader = Reader(dataset, ids[:20], 1 << 30)
        self.loader = Loader(reader, ids[:20], pool, augmentation, schedule, 0, self.device, resources)
        folder.mkdir(parents=True, exist_ok=True)
        self.trainer = Trainer(cell, method, self.loader, Run(folder), resources, None, self.device)  # type: ignore[arg-type]
        self.batches = self.loader.steps(0)
        self.one_batch: Batch = self.loader.device_batch(self.loader.host_batch(0, 0))

    def loop(self) -> Step:
        """Return the step as a run takes it."""
        return lambda: self.trainer.step(next(self.batches))

    def bare(self) -> Step:
        """Return the bare network's passes."""
        student, teacher = (
            build_method(self.cell, CLASSES).predictor.to(self.device).to(memory_format=torch.channels_last).train()
            for _ in range(2)
        )
        student.requires_grad_(True)
        optimizer = torch.optim.SGD(student.parameters(), lr=1e-3, momentum=0.9)
        image = self.one_batch.labelled.image.contiguous(memory_format=torch.channels_last)
        label = self.one_batch.labelled.label
        bf16 = self.cell.numerics.precision == "bf16"

        def one_pass() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                scores = F.interpolate(student(image), size=image.shape[2:], mode="bilinear", align_corners=True)
            F.cross_entropy(scores.float(), label, ignore_index=255).backward()  # type: ignore[no-untyped-call]

        def step() -> None:
            one_pass()
            if self.loader.unlabelled:
                with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                    teacher(image)
                one_pass()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def authors(self) -> Step:
        """Return the authors' step on the same batch."""
        unlabelled = self.one_batch.unlabelled
        assert unlabelled is not None
        scale = self.cell.augmentation.config.scale
        steps = authors.Steps(BACKBONE, CLASSES, CROP, scale, self.device)
        return authors.make_step(steps, self.one_batch.labelled.image, self.one_batch.labelled.label, unlabelled.weak)


def seconds(step: Step, device: torch.device) -> float:
    """Return the time of a step."""
    begin = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def medians(versions: dict[str, Step], rounds: int, device: torch.device) -> dict[str, float]:
    """Return each version's median time; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in versions}
    for number in range(rounds + 1):
        for name, step in versions.items():
            took = seconds(step, device)
            if number:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print, per method, seconds per step of each version and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    os.environ["BENCH_PLUGINS"] = str(Path(__file__).with_name("blobs.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid = make_grid(options.methods or registry.names("method"), options.precision)
        (folder / "step.yaml").write_text(yaml.safe_dump(grid))
        plan = make_plan(Request(str(folder / "step.yaml"), (), (), folder / "store"))
        where = f"{BACKBONE}, crop {CROP}, {IMAGES} + {IMAGES}, {CLASSES} classes, {options.precision}"
        print(f"{where}; {usable_cores()} threads, {pick_device('auto')}")
        print(f"{'method':<14}{'loop s':>8}{'bare s':>8}{'loop/bare':>11}{'authors s':>11}{'authors/loop':>14}")
        for planned in plan.cells:
            report(Subject(planned, folder / planned.cell.id), options.rounds)
    if authors.CHECKOUT not in os.environ:
        print(f"authors' code: skipped; set {authors.CHECKOUT} to a checkout of github.com/lorenmt/reco")


def report(subject: Subject, rounds: int) -> None:
    """Measure a method and print its line."""
    versions = {"loop": subject.loop(), "bare": subject.bare()}
    if subject.name == "reco" and authors.CHECKOUT in os.environ:
        versions["authors"] = subject.authors()
    found = medians(versions, rounds, subject.device)
    line = f"{subject.name:<14}{found['loop']:8.3f}{found['bare']:8.3f}{found['loop'] / found['bare']:11.2f}"
    if "authors" in found:
        line += f"{found['authors']:11.2f}{found['authors'] / found['loop']:14.1f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
