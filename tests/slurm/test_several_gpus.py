"""`gpus: N`: one task with N GPUs, whose cell N processes train; what they can't share is refused before it is sent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench import machine
from bench.errors import BenchError
from bench.plan.cells import Plan
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.spec.resources import Resources
from bench.store.job import Job
from slurm import preflight
from slurm.profiles import Profile
from slurm.records import Array, Submission
from slurm.request import array_requests, script
from slurm.submit import tasks_of
from slurm.submit_verb import _check_resources
from tests.slurm.test_parts import GRID


def planned(tmp_path: Path) -> tuple[Plan, Request]:
    (path := tmp_path / "g.yaml").write_text(GRID)
    request = Request(str(path), (), (), tmp_path / "store")
    return make_plan(request), request


@pytest.mark.parametrize(("gpus", "count"), [(0, 0), (1, 1), ("a100:1", 1), (2, 2), ("h100:2", 2)])
def test_a_job_asks_for_the_gpus_and_its_cell_has_a_process_for_each(
    tmp_path: Path, gpus: int | str, count: int
) -> None:
    plan, _ = planned(tmp_path)
    (request, *_) = array_requests(plan.cells[:1], Profile(gpus=gpus), "g.yaml", 10)
    text = script(request.profile, tmp_path, tmp_path, "x", 1)
    assert "#SBATCH --ntasks-per-node=1" in text
    assert (f"#SBATCH --gres=gpu:{gpus}\n" in text) == bool(count)
    made = Submission("1", "g", "", [], "here", {}, {"device": "auto", "processes": 1}, False)
    array = Array("a", ["c"], request.profile.model_dump(mode="json"), 1)
    (job,) = next(tasks_of(tmp_path, made, array)).jobs
    assert isinstance(job, Job)
    assert job.resources == {"device": "cuda" if count else "auto", "processes": count or 1}


def test_gpus_that_cannot_share_a_batch_are_refused_in_one_line(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    array_requests(plan.cells, Profile(gpus=2), "g.yaml", 10)
    with pytest.raises(
        BenchError, match=r"g.yaml: profile: gpus: 3: supervised: 3 processes can't share its \d"
    ) as said:
        array_requests(plan.cells, Profile(gpus=3), "g.yaml", 10)
    assert "\n" not in str(said.value)
    changed = [dataclasses.replace(cell, profile={"gpus": "a100:3"}) for cell in plan.cells]
    with pytest.raises(BenchError, match="gpus: a100:3: "):
        array_requests(changed, Profile(), "g.yaml", 10)


def test_what_cannot_be_compiled_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    plan, request = planned(tmp_path)
    compiled = dataclasses.replace(plan, grid=plan.grid.model_copy(update={"resources": Resources(compile=True)}))
    asked = array_requests(plan.cells, Profile(gpus=2), "g.yaml", 10)
    with pytest.raises(BenchError, match=r"g.yaml: profile: gpus: 2: resources: .*compile: .* can't be compiled"):
        _check_resources(asked, compiled, request)
    _check_resources(asked, plan, request)
    _check_resources(array_requests(plan.cells, Profile(gpus=1), "g.yaml", 10), compiled, request)


def test_the_share_of_each_gpu_is_compared_with_its_memory(tmp_path: Path) -> None:
    plan, request = planned(tmp_path)
    alone, shared = (
        preflight._memory_problems(
            array_requests(plan.cells, Profile(gpus=gpus, gpu_memory=0.001), "g.yaml", 10), request, []
        )
        for gpus in (1, 2)
    )
    assert "won't fit" in alone[0] and "won't fit" in shared[0] and alone != shared


def test_local_workers_have_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ["0", "1", "2", "GPU-3"])
    assert [machine.gpu_for(worker, 2) for worker in range(3)] == ["0,1", "2,GPU-3", "0,1"]
    assert [machine.gpu_for(worker) for worker in range(2)] == ["0", "1"]
    assert machine.gpu_for(0, 5) == "0,1,2,GPU-3"
