"""An evaluation from the weights alone: computed as the run was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.data.roots import DataRoots
from bench.files import read_json, write_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.store.run import Run, State
from bench.train.reevaluate import Evaluator
from tests.conftest import TOY


@pytest.fixture
def defaults() -> Iterator[None]:
    """Torch as it is without us."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(before)
    torch.set_num_threads(1)


@pytest.mark.usefixtures("defaults")
def test_it_has_the_runs_own_numerics(grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", str(TOY))
    text = grid_file.read_text().replace("recipe:", "recipe:\n  numerics: {tf32: true}")
    grid_file.write_text(text + "resources: {threads: 2, device: cpu}\n")
    request = Request(str(grid_file), (), (), grid_file.parent / "store")
    plan = make_plan(request)
    (job,), _ = make_jobs(plan, plan.cells, request, retry=False)
    assert run_cell(job) is State.DONE
    run = Run(Path(job.store) / job.cell_id)
    rounding = read_json(run.rounding)
    assert (rounding["threads"], rounding["device"], len(rounding["models"])) == (2, "cpu", 1)
    assert run.read_state()["hardware"] == rounding["models"]
    write_json(run.rounding, {**rounding, "threads": 3})
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32 = False
    score = Evaluator.open(run, "last", DataRoots(), "cpu").score()
    assert torch.get_num_threads() == 3
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.allow_tf32
    assert score.miou == pytest.approx(read_json(run.result)["last"]["miou"], abs=0.05)
