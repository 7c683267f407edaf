"""What a line of the GPU check is given: its sizes, a folder, and the report that takes its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.gpu.report import Report

if TYPE_CHECKING:
    from bench.plan.cells import PlannedCell
    from bench.plan.request import Request
    from tests.benchmarks.subjects import Subject


@dataclass(frozen=True)
class Setting:
    """Network and batch of a step: backbone, crop size, images per pool."""

    backbone: str
    crop: int
    images: int

    def __str__(self) -> str:
        return f"{self.backbone}, {self.crop}², {self.images}+{self.images}"


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        check: the setting of what must hold at any size.
        paper: the setting at which memory and times are measured: by default that of the papers on VOC.
        steps: optimizer steps of a cell.
        workers: cells at a time.
        rounds: in which versions of a step are timed.
        image: (height, width) of a large image, as evaluated and decoded.
        evaluated: such images.
        evaluation_batch: such images per forward pass.
        photos: images of VOC's size that the loader decodes.
        loaded: steps that the loader makes of either kind.
        keys: queries, negatives and rows of the kernels that are checked.
        too_large: a setting that doesn't fit the device.
    """

    check: Setting
    paper: Setting
    steps: int
    workers: int
    rounds: int
    image: tuple[int, int]
    evaluated: int
    evaluation_batch: int
    photos: int
    loaded: tuple[int, int]
    keys: tuple[int, int, int]
    too_large: Setting


FULL = Sizes(
    check=Setting("resnet50", 161, 4),
    paper=Setting("resnet101", 321, 10),
    steps=40,
    workers=5,
    rounds=5,
    image=(1024, 2048),
    evaluated=8,
    evaluation_batch=4,
    photos=200,
    loaded=(60, 8),
    keys=(128, 512, 20_000),
    too_large=Setting("resnet50", 2048, 16),
)
SMALL = Sizes(
    check=Setting("tiny", 48, 4),
    paper=Setting("tiny", 64, 4),
    steps=4,
    workers=2,
    rounds=2,
    image=(64, 128),
    evaluated=4,
    evaluation_batch=2,
    photos=8,
    loaded=(3, 2),
    keys=(16, 32, 200),
    too_large=Setting("tiny", 1024, 4),
)


@dataclass(frozen=True)
class Context:
    """What a line is given.

    Attributes:
        folder: of the whole check; what one line leaves there, a later one may use.
        report: takes the findings.
        sizes: how large everything is.
        noop: whether this is the no-op runtime.
    """

    folder: Path
    report: Report
    sizes: Sizes
    noop: bool

    def write_spec(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a grid or a sweep; return its path."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(dict(content)))
        return path

    def cells(
        self, name: str, setting: Setting, methods: Sequence[str] = (), options: Mapping[str, Mapping[str, Any]] = {}
    ) -> tuple[list[PlannedCell], Request]:
        """Plan one cell per method (all where none is given), and return the request that planned them as well.

        Args:
            name: of a folder for grid and store.
            setting: backbone, crop and images.
            methods: names.
            options: of some of the methods, by name.
        """
        from bench import registry
        from tests.benchmarks.subjects import plan_cells

        # After the import above, which registers `blobs` under its own name, and before a cell is opened: this loads the
        # plug-ins too, of which the no-op runtime needs one.
        known = registry.names("method")
        chosen = [{"name": one, **options.get(one, {}), "label": one} for one in methods or known]
        folder = self.folder / name
        folder.mkdir()
        return plan_cells(folder, chosen, setting.backbone, setting.crop, setting.images, "fp32")


def open_subject(planned: PlannedCell, request: Request, device: str = "cuda", **resources: Any) -> Subject:
    """Return a cell's stepper and loader as a run has them, on a device."""
    from bench.spec.resources import Resources
    from tests.benchmarks.subjects import Subject

    return Subject(planned, request, Resources(device=device, **resources))


def release() -> None:
    """Give back what the device's allocator holds, and begin new peaks."""
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
