"""`resources.compile`: the same network, compiled in place; recorded, and kept when a run is resumed."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.cost.predict import BlankImages
from bench.errors import BenchError
from bench.files import read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.seeds import rng
from bench.spec.cell import Cell
from bench.spec.resources import Compile, Resources
from bench.store.job import Job
from bench.store.rounding import as_it_began, go_on
from bench.store.run import Run, State
from bench.train import checkpoint
from bench.train.build import build_loader, build_method, build_stepper, compile_networks
from bench.train.loop import Calls, CheckpointContent, Trainer
from bench.train.metrics import Score
from bench.train.step import Stepper
from datasets.split import Split
from methods.base import Batch, Method


@pytest.fixture
def _traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace the graphs, but run them operator by operator: bits stay, and no C++ compiler is needed."""
    original: Callable[..., None] = nn.Module.compile

    def compile_eagerly(self: nn.Module, **options: Any) -> None:
        original(self, backend="eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    torch._dynamo.reset()


def outcome(grid_file: Path, store: str, *sets: str) -> tuple[Job, list[dict[str, Any]]]:
    """Run the small grid's cell; return its job and metrics."""
    request = Request(str(grid_file), ("resources.threads=1", *sets), (), grid_file.parent / store)
    plan = make_plan(request)
    [job] = make_jobs(plan, plan.cells, request, retry=False)[0]
    assert run_cell(job) is State.DONE
    return job, list(read_jsonl(Run(Path(job.store) / job.cell_id).metrics))


@pytest.mark.usefixtures("_traced_only")
def test_a_compiled_run_is_the_same_cell_and_says_so(grid_file: Path) -> None:
    job, metrics = outcome(grid_file, "compiled", "resources.compile=true")
    plain, expected = outcome(grid_file, "plain")
    assert job.cell_id == plain.cell_id
    assert metrics == expected
    attempts = [next(iter(read_jsonl(Run(Path(j.store) / j.cell_id).attempts)))["compile"] for j in (job, plain)]
    assert attempts == [True, False]


@pytest.mark.usefixtures("_traced_only")
def test_parts_are_compiled_and_names_stay(grid_file: Path) -> None:
    cell = make_plan(Request(str(grid_file), (), (), grid_file.parent / "store")).cells[0].cell
    method = build_method(cell, 3)
    names = list(method.state_dict())
    compile_networks(method, cell.network.cls)
    compiled = [name for name, module in method.named_modules() if module._compiled_call_impl is not None]
    assert compiled == ["student.backbone", "student.pyramid", "student.project", "student.classifier"]
    assert list(method.state_dict()) == names


@pytest.mark.parametrize("mode", [True, "reduce-overhead"])
def test_a_resumed_run_keeps_what_it_began_with(grid_file: Path, mode: Compile) -> None:
    run = Run(grid_file.parent)
    first = as_it_began(run, Resources(threads=3, compile=mode))
    go_on(run, first, "cpu", "a CPU", "code")
    again = as_it_began(run, Resources(threads=1, cache_mb=7))
    assert (again.threads, again.compile, again.cache_mb) == (first.threads, first.compile, 7) == (3, mode, 7)


class Small(Method):
    """Two convolutions; they compile in seconds, where a DeepLab takes minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(16, 3, 1))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        scores = self.head(self.body(batch.labelled.image))
        return {"supervised": F.cross_entropy(scores, batch.labelled.label, ignore_index=255)}

    @property
    def predictor(self) -> nn.Module:
        return self


def started(cell: Cell, calls: Calls) -> Trainer:
    """Return a trainer at its start that compiles as a process does that has just begun."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    method = Small()
    method.body.compile()
    method.head.compile()
    stepper = Stepper(cell, method, torch.device("cpu"))
    images = BlankImages(cell.augmentation.config.crop_size)
    images.image = lambda image_id: rng(0, image_id).integers(0, 256, (32, 32, 3)).astype(np.uint8)  # type: ignore[method-assign]
    resources = Resources(compile=True, checkpoint_every=4)
    return Trainer(stepper, build_loader(stepper, images, Split(tuple("abcd"), ()), resources), resources, calls)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_run_that_is_resumed_is_bit_identical_with_the_real_compiler(grid_file: Path) -> None:
    """The meter of the first two steps once altered what was compiled; the backend `eager` of the other tests can't tell."""
    cell = make_plan(Request(str(grid_file), (), (), grid_file.parent / "store")).cells[0].cell
    kept = list[CheckpointContent]()
    score = Score(50.0, 50.0, [50.0])
    whole = started(cell, Calls(lambda: score, checkpoint=lambda content: kept.append(copy.deepcopy(content))))
    whole.train()
    assert [content["progress"]["step"] for content in kept] == [4, 8]
    resumed = started(cell, Calls(lambda: score))
    resumed.restore(kept[0])
    resumed.train()
    assert checkpoint.digest(resumed.stepper.method.state_dict()) == checkpoint.digest(kept[1]["method"])
    torch._dynamo.reset()


def test_other_modes_are_refused_with_those_that_there_are(grid_file: Path) -> None:
    with pytest.raises(BenchError, match="reduce-overhead"):
        make_plan(Request(str(grid_file), ("resources.compile=max-autotune",), (), grid_file.parent / "store"))


def test_cuda_graphs_are_refused_on_a_cpu(grid_file: Path) -> None:
    cell = make_plan(Request(str(grid_file), (), (), grid_file.parent / "store")).cells[0].cell
    with pytest.raises(BenchError, match="'reduce-overhead' needs a GPU, and this is cpu"):
        build_stepper(cell, 3, torch.device("cpu"), "reduce-overhead")


def test_cuda_graphs_are_for_fixed_shapes(grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_plan(Request(str(grid_file), (), (), grid_file.parent / "store")).cells[0].cell
    asked = list[dict[str, Any]]()
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append(options))
    compile_networks(build_method(cell, 3), cell.network.cls, "reduce-overhead")
    assert asked == [{"mode": "reduce-overhead", "dynamic": False}] * 4


def test_a_step_begins_once_for_all_its_micro_batches(grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(str(grid_file), ("schedule.accumulate=2",), (), grid_file.parent / "store")
    cell, happened = make_plan(request).cells[0].cell, list[str]()
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: happened.append("step"))
    stepper = Stepper(cell, build_method(cell, 3), torch.device("cpu"), graphs=True)
    losses = stepper.method.losses

    def noted(batch: Batch) -> dict[str, Tensor]:
        happened.append("losses")
        return losses(batch)

    monkeypatch.setattr(stepper.method, "losses", noted)
    images = BlankImages(cell.augmentation.config.crop_size)
    loader = build_loader(stepper, images, Split(("labelled",), ("unlabelled",)), Resources())
    for step in range(2):
        stepper.take(loader.batches(step))
    assert happened == ["step", "losses", "losses"] * 2
