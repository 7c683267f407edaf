"""Conformance of every registered method: a run that is killed and resumed is bit-identical to one that never was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from bench import registry
from bench.files import read_json, read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.store.confusion import read_confusion
from bench.store.job import Job
from bench.store.run import Run
from tests.bench.run.killing import run_in_child
from tests.conftest import GRID
from tests.devices import on_every_device
from tests.noop_cuda import counters

MATRICES = ("confusion-last.npz", "confusion-best.npz")
COMPARED = ("weights-last.pt", "weights-best.pt", *MATRICES, "metrics.jsonl", "result.json")


def make_job(folder: Path, method: str, precision: str = "fp32", accumulate: int = 1, device: str = "cpu") -> Job:
    """Plan one cell of a method in a store of its own; a checkpoint every 2 steps, a log line every 3."""
    content = yaml.safe_load(GRID)
    content["axes"]["method"] = [method]
    content["recipe"]["numerics"] = {"precision": precision}
    content["recipe"]["schedule"] |= {"accumulate": accumulate, "batch": {"labelled": 4, "unlabelled": 4}}
    content["resources"] = {"threads": 1, "checkpoint_every": 2, "log_every": 3, "device": device}
    folder.mkdir()
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    request = Request(str(path), (), (), folder / "store")
    plan = make_plan(request)
    return make_jobs(plan, plan.cells, request, retry=False)[0][0]


def outcome(job: Job) -> dict[str, bytes]:
    """Return the files that must be the same; only their names on the no-op CUDA runtime, where numbers mean nothing."""
    run = Run(Path(job.store) / job.cell_id)
    assert run.read_state()["state"] == "done", run.read_state()
    found = {name: (run.path / name).read_bytes() for name in COMPARED}
    return dict.fromkeys(found, b"") if counters.loaded() else found


@on_every_device
@pytest.mark.parametrize("method", registry.names("method"))
def test_killed_and_resumed_is_bit_identical(tmp_path: Path, method: str, device: str) -> None:
    whole = make_job(tmp_path / "whole", method, device=device)
    assert run_in_child(whole) == 0
    expected = outcome(whole)
    for name, kills in {
        "between checkpoints": [("step", 3)],
        "in a checkpoint write": [("write", 2)],
        "after an evaluation, then twice more": [("evaluation", 1), ("step", 1), ("write", 3)],
    }.items():
        job = make_job(tmp_path / name, method, device=device)
        for point, number in kills:
            assert run_in_child(job, point, number) == -9, name
        assert run_in_child(job) == 0
        assert outcome(job) == expected, name
        run = Run(Path(job.store) / job.cell_id)
        assert len(list(read_jsonl(run.attempts))) == len(kills) + 1
        assert not list(run.path.glob(".*.tmp"))
        assert not run.checkpoint.exists()


@on_every_device
@pytest.mark.parametrize(("precision", "accumulate"), [("bf16", 1), ("fp32", 2)])
def test_so_it_is_under_bf16_and_with_accumulation(
    tmp_path: Path, precision: str, accumulate: int, device: str
) -> None:
    whole = make_job(tmp_path / "whole", "classmix", precision, accumulate, device)
    killed = make_job(tmp_path / "killed", "classmix", precision, accumulate, device)
    assert run_in_child(whole) == 0
    assert run_in_child(killed, "step", 5) == -9
    assert run_in_child(killed) == 0
    assert outcome(killed) == outcome(whole)


def test_killed_between_best_weights_and_their_matrices_which_are_those_of_the_scores(tmp_path: Path) -> None:
    """The scores in the result, and the digests, are those of the sum of the matrices, image by image of the split."""
    whole, killed = (make_job(tmp_path / name, "supervised") for name in ("whole", "killed"))
    assert run_in_child(whole) == 0
    for number in (1, 2):
        assert run_in_child(killed, "matrices", number) == -9
    assert run_in_child(killed) == 0
    assert outcome(killed) == outcome(whole)
    run = Run(Path(killed.store) / killed.cell_id)
    result = read_json(run.result)
    for which in ("last", "best"):
        kept = read_confusion(run, which)
        assert kept is not None
        assert (kept.step, result["confusion_sha256"][which]) == (result[which]["step"], kept.sha256())
        hit = np.einsum("nkk->k", kept.matrices())
        union = kept.total().sum(0) + kept.total().sum(1) - hit
        assert result[which]["iou"] == [h / u * 100 if u else None for h, u in zip(hit, union, strict=True)]
        assert len(set(kept.ids)) == len(kept.ids) == 6


def test_a_done_cell_is_not_touched_again(tmp_path: Path) -> None:
    job = make_job(tmp_path / "a", "supervised")
    assert run_in_child(job) == 0
    before = outcome(job)
    assert run_in_child(job) == 0
    assert outcome(job) == before
    assert len(list(read_jsonl(Run(Path(job.store) / job.cell_id).attempts))) == 1


@on_every_device
def test_a_damaged_checkpoint_costs_time_but_no_result(tmp_path: Path, device: str) -> None:
    whole, damaged = (make_job(tmp_path / name, "supervised", device=device) for name in ("whole", "damaged"))
    assert run_in_child(whole) == 0
    assert run_in_child(damaged, "step", 5) == -9
    run = Run(Path(damaged.store) / damaged.cell_id)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:5000])
    assert run_in_child(damaged) == 0
    assert outcome(damaged) == outcome(whole)


def test_metrics_hold_every_logged_step_once_and_every_loss(tmp_path: Path) -> None:
    job = make_job(tmp_path / "a", "classmix")
    assert run_in_child(job, "step", 5) == -9
    assert run_in_child(job) == 0
    run = Run(Path(job.store) / job.cell_id)
    rows = list(read_jsonl(run.metrics))
    assert [r["step"] for r in rows if "losses" in r] == [3, 6, 8]
    assert [r["step"] for r in rows if "eval" in r] == [3, 6, 8]
    assert all({"supervised", "unsupervised"} <= set(r["losses"]) for r in rows if "losses" in r)
    result = read_json(run.result)
    evaluations = {r["step"]: r["eval"]["miou"] for r in rows if "eval" in r}
    assert result["last"]["miou"] == evaluations[8]
    assert result["best"]["miou"] == max(evaluations.values())
