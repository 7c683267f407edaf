"""What the harness adds to a step: the loop's steps against the bare network on tensors ready in memory.

``python -m tests.benchmarks.bench_loop``. The bare network does the same forward and backward passes (for a teacher: one
more forward pass) with plain SGD, nothing else. Both take turns, a few steps each; the figure is the ratio of medians.
"""

from __future__ import annotations

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
from bench.train.build import build_method
from bench.train.loader import Loader
from bench.train.loop import Trainer
from bench.train.reader import Reader

ROUNDS, STEPS = 6, 3
CPU = torch.device("cpu")
GRID = {
    "recipe": {
        "dataset": "synthetic",
        "network": {"name": "deeplabv3plus", "backbone": "resnet18"},
        "augmentation": {"reco": {"crop_size": 128}},
        "schedule": {"iterations": 10_000, "batch": {"labelled": 8, "unlabelled": 8}},
    },
    "axes": {"method": registry.names("method"), "protocol": [{"few_labels": 16}]},
}


def loop_steps(planned: PlannedCell, folder: Path) -> Callable[[], None]:
    """Return a function that takes one step as the loop does, data included."""
    cell = planned.cell
    dataset = open_dataset(cell.dataset, DataRoots())
    ids = dataset.ids("train")
    method = build_method(cell, len(dataset.classes)).to(memory_format=torch.channels_last).train()
    resources = Resources()
    schedule = cell.schedule.with_labelled_factor(method.labelled_batch_factor(cell.method.config))
    unlabelled = ids[16:] if method.uses_unlabelled else ()
    augmentation = cell.augmentation.cls(cell.augmentation.config)
    loader = Loader(Reader(dataset, ids[:16], 1 << 30), ids[:16], unlabelled, augmentation, schedule, 0, CPU, resources)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(cell, method, loader, Run(folder), resources, None, CPU)  # type: ignore[arg-type]
    steps = loader.steps(0)
    return lambda: trainer.step(next(steps))


def bare_steps(planned: PlannedCell, classes: int) -> Callable[[], None]:
    """Return a function that runs the same passes of the network on tensors ready in memory."""
    cell = planned.cell
    method = build_method(cell, classes)
    factor = method.labelled_batch_factor(cell.method.config)
    student, teacher = (build_method(cell, classes).predictor.to(memory_format=torch.channels_last) for _ in range(2))
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3, momentum=0.9)
    passes = 2 if method.uses_unlabelled else 1
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    image = torch.rand(8 * factor, 3, 128, 128).to(memory_format=torch.channels_last)
    label = torch.randint(0, classes, (8 * factor, 128, 128))

    def step() -> None:
        student.train()
        if passes == 2:
            with torch.no_grad():
                teacher.train()(image)
        for _ in range(passes):
            scores = F.interpolate(student(image), size=(128, 128), mode="bilinear", align_corners=True)
            F.cross_entropy(scores, label).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def median_seconds(take: Callable[[], None]) -> float:
    """Return the median time of a few steps."""
    times = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        take()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Print, per method, seconds per step of loop and bare network, and their ratio."""
    torch.set_num_threads(usable_cores())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "loop.yaml").write_text(yaml.safe_dump(GRID))
        plan = make_plan(Request(str(folder / "loop.yaml"), (), (), folder / "store"))
        print(
            f"{'method':<14}{'loop s':>8}{'bare s':>8}{'ratio':>7}   (ResNet-18, crop 128, {usable_cores()} threads, fp32)"
        )
        for planned in plan.cells:
            classes = len(open_dataset(planned.cell.dataset, DataRoots()).classes)
            loop, bare = loop_steps(planned, folder / planned.cell.id), bare_steps(planned, classes)
            loop()
            bare()
            pairs = [(median_seconds(loop), median_seconds(bare)) for _ in range(ROUNDS)]
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{planned.coords['method']:<14}{ours:>8.3f}{theirs:>8.3f}{ours / theirs:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
