"""Every way in which a cell can end becomes a typed state with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from bench import registry
from bench.files import read_json, read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.store.run import Run, State
from bench.store.status import grid_status
from tests.conftest import GRID, TOY

BAD = TOY.with_name("bad_methods.py")


@pytest.fixture
def request_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setenv("BENCH_PLUGINS", f"{TOY}:{BAD}")
    content = yaml.safe_load(GRID)
    content["axes"]["method"] = [{"bad": {"how": how}} for how in ("nan", "memory", "bug", "disk", "stop")]
    content["resources"] = {"threads": 1, "checkpoint_every": 2, "log_every": 5, "device": "cpu"}
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(content))
    return Request(str(path), (), (), tmp_path / "store")


EXPECTED = {
    "nan": (State.DIVERGED, "the loss 'loss' was not finite at step 4"),
    "memory": (State.OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB"),
    "bug": (State.FAILED, "ZeroDivisionError: a bug in two lines"),
    "disk": (State.FAILED, "the disk is full: OSError: [Errno 28] No space left on device"),
    "stop": (State.PREEMPTED, "stopped after 5 steps, with a checkpoint"),
}


def test_every_ending_is_a_typed_state_with_its_reason(request_for: Request) -> None:
    plan = make_plan(request_for)
    jobs, _ = make_jobs(plan, plan.cells, request_for, retry=False)
    for job, (state, reason) in zip(jobs, EXPECTED.values(), strict=True):
        assert run_cell(job) is state
        recorded = Run(Path(job.store) / job.cell_id).read_state()
        assert (recorded["state"], recorded["reason"]) == (state.value, reason)
    # a diverged run keeps its last good checkpoint, from before the loss went wrong
    nan = Run(Path(jobs[0].store) / jobs[0].cell_id)
    content = torch.load(nan.checkpoint, weights_only=True)
    assert content["progress"]["step"] == 4
    assert all(torch.isfinite(v).all() for v in content["method"].values() if v.is_floating_point())
    # it isn't tried again unless asked to; a stopped one goes on where it was
    assert run_cell(jobs[0]) is State.DIVERGED
    assert len(list(read_jsonl(nan.attempts))) == 1
    stopped = Run(Path(jobs[4].store) / jobs[4].cell_id)
    assert run_cell(jobs[4]) is State.DONE
    assert read_json(stopped.result)["iterations"] == 8


def test_a_cell_that_moved_shows_as_stale(grid_file: Path, tmp_path: Path) -> None:
    request = Request(str(grid_file), (), (), tmp_path / "store")
    plan = make_plan(request)
    make_jobs(plan, plan.cells, request, retry=False)
    grid_file.write_text(GRID.replace("lr: 0.05", "lr: 0.06"))
    from bench.plan.summary import plan_and_keep

    status = grid_status(request.store, plan_and_keep(request)[1])
    assert status["totals"] == {"pending": 1, "stale": 1}
    assert [row["id"] for row in status["stale"]] == [plan.cells[0].cell.id]


def test_masks_of_unlabelled_images_are_withheld(tmp_path: Path) -> None:
    from bench.train.reader import Reader

    toy = registry.get("dataset", "toy")
    reader = Reader(toy(toy.Config(), tmp_path), ["train00", "val01"], 1 << 20)
    assert reader.mask("train00") is reader.mask("train00")
    with pytest.raises(PermissionError, match="mask of train01 is withheld"):
        reader.mask("train01")
    assert reader.image("train01").shape == (40, 40, 3)
