"""`resources.compile`: the same network, compiled in place; recorded, and kept when a run is resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.files import read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from bench.train.build import build_method, compile_networks


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


def test_a_resumed_run_keeps_what_it_began_with(grid_file: Path) -> None:
    from bench.spec.sections import Resources
    from bench.store.rounding import as_it_began, go_on

    run = Run(grid_file.parent)
    first = as_it_began(run, Resources(threads=3, compile=True))
    go_on(run, first, "cpu", "a CPU")
    again = as_it_began(run, Resources(threads=1, cache_mb=7))
    assert (again.threads, again.compile, again.cache_mb) == (first.threads, first.compile, 7) == (3, True, 7)
