"""What the benchmarks of a step and of the loop measure: a cell's trainer as a run has it, and the bare network."""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.roots import DataRoots, open_dataset
from bench.data.splits import load_split
from bench.plan.cells import PlannedCell
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.spec.resources import Resources
from bench.train.build import build_loader, build_method, build_reader, build_stepper
from bench.train.setup import set_up_torch
from methods.base import Batch
from tests.benchmarks.blobs import CLASSES

Step = Callable[[], Any]
RESOURCES = Resources()  # as they are by default


def plan_cells(
    folder: Path,
    methods: list[Any],
    backbone: str,
    crop: int,
    images: int,
    precision: str,
    recipe: dict[str, Any] | None = None,
) -> tuple[list[PlannedCell], Request]:
    """Return one cell per method on the dataset `blobs`, and the request that planned them; `recipe` replaces sections."""
    plug_in("blobs")
    grid = {
        "recipe": {
            "dataset": "blobs",
            "network": {"name": "deeplabv3plus", "backbone": backbone},
            "augmentation": {"reco": {"crop_size": crop}},
            "schedule": {"iterations": 10_000, "batch": {"labelled": images, "unlabelled": images}},
            "numerics": {"precision": precision},
            **(recipe or {}),
        },
        "axes": {"method": methods, "protocol": [{"ratio": "1/2"}]},
    }
    folder.mkdir(exist_ok=True)
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(grid))
    request = Request(str(path), (), (), folder / "store")
    return make_plan(request).cells, request


def plug_in(name: str) -> None:
    """Name a file of this folder among the plug-ins."""
    plugins = [p for p in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if p]
    if (path := str(Path(__file__).with_name(f"{name}.py"))) not in plugins:
        os.environ["BENCH_PLUGINS"] = os.pathsep.join([*plugins, path])


class Subject:
    """One cell's stepper and loader, as a run has them, and the bare network with the same passes.

    Args:
        planned: the cell.
        request: for the store that keeps its split.
        resources: device, threads, cache and whether the networks are compiled.
    """

    def __init__(self, planned: PlannedCell, request: Request, resources: Resources = RESOURCES) -> None:
        self.cell = cell = planned.cell
        self.name = str(planned.coords["method"])
        self.device = set_up_torch(resources, cell.numerics)
        dataset = open_dataset(cell.dataset, DataRoots())
        split = load_split(request.store, cell.split_sha256)
        self.stepper = build_stepper(cell, len(dataset.classes), self.device, resources.compile)
        self.reader = build_reader(cell, dataset, split, resources, self.device)
        self.loader = loader = build_loader(self.stepper, self.reader, split, resources)
        self.stepper.method.train()
        self.batches: Iterator[Iterator[Batch]] = loader.steps(0)
        self.one_batch: Batch = loader.device_batch(loader.host_batch(0, 0))

    def loop(self) -> None:
        """Take a step as a run takes it, data included."""
        self.stepper.take(next(self.batches))

    def make_network(self) -> nn.Module:
        """Return a new network of the cell on its device."""
        network: nn.Module = build_method(self.cell, CLASSES).predictor
        return network.to(self.device).to(memory_format=torch.channels_last).train()

    def make_bare(self) -> tuple[Step, nn.Module, torch.optim.Optimizer]:
        """Return a step of the bare network's passes on tensors in memory; all its weights; and its optimizer.

        ReCo's representation head is a part of its student's passes.
        """
        networks = nn.ModuleList([self.make_network().requires_grad_(True), self.make_network().requires_grad_(False)])
        student, teacher = networks
        head = copy.deepcopy(getattr(self.stepper.method, "representation", None))  # ReCo's, a part of its student
        if head is not None:
            networks.append(head)
        optimizer = torch.optim.SGD([p for p in networks.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
        image = self.one_batch.labelled.image.contiguous(memory_format=torch.channels_last)
        label = self.one_batch.labelled.label
        bf16 = self.cell.numerics.precision == "bf16"
        unlabelled = bool(self.loader.unlabelled)

        def one_loss() -> Tensor:
            features = None if head is None else cast(Any, student).features(image)
            scores = student(image) if features is None else cast(Any, student).classify(features)
            scores = F.interpolate(scores, size=image.shape[2:], mode="bilinear", align_corners=True)
            loss = F.cross_entropy(scores.float(), label, ignore_index=255)
            return loss if head is None else loss + head(features).float().mean()

        def step() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                if unlabelled:
                    with torch.inference_mode():
                        teacher(image)
                loss = one_loss() + one_loss() if unlabelled else one_loss()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

        return step, networks, optimizer


def seconds(step: Step, device: torch.device) -> float:
    """Return the time of a call."""
    begin = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


class Times:
    """Seconds that some versions of a thing took, by round.

    A ratio is the median over the rounds of the two times of one round, which followed each other: a host that is slow
    for some seconds then slows both, whereas the ratio of two medians may compare a slow with a quick stretch.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, dict[int, float]] = {}

    def add(self, name: str, number: int, taken: float) -> None:
        """Keep what a version took in a round."""
        self._seconds.setdefault(name, {})[number] = taken

    def __contains__(self, name: str) -> bool:
        return name in self._seconds

    def median(self, name: str) -> float:
        """Return the median seconds of a version."""
        return statistics.median(self._seconds[name].values())

    def medians(self) -> dict[str, float]:
        """Return the median seconds of every version."""
        return {name: self.median(name) for name in self._seconds}

    def ratios(self, name: str, reference: str) -> list[float]:
        """Return a version's time over the reference's, in order, for each round in which both took part."""
        ours, theirs = self._seconds[name], self._seconds[reference]
        return sorted(ours[number] / theirs[number] for number in ours.keys() & theirs.keys())

    def ratio(self, name: str, reference: str) -> float:
        """Return the median of the ratios."""
        return statistics.median(self.ratios(name, reference))


def take_turns(
    versions: dict[str, Step], rounds: int, device: torch.device, every: dict[str, int] | None = None
) -> Times:
    """Time versions in turns, the first time of each only to warm up; one of `every` takes part in each n-th round."""
    times = Times()
    for number in range(rounds + 1):
        for name, step in versions.items():
            if number and number % (every or {}).get(name, 1):
                continue
            taken = seconds(step, device)
            if number:
                times.add(name, number, taken)
    return times
