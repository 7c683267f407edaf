"""What a run keeps survives power cuts, damage and file systems that fail for a moment."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import patience
from bench.files import read_json, read_jsonl
from bench.run.hooks import Hooks
from bench.run.recorder import Recorder
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from bench.train import checkpoint
from bench.train.step import Stepper
from tests.bench.run.killing import run_in_child
from tests.bench.run.test_resume import make_job, outcome


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Job, Job]:
    """A cell that has ended, and the same one killed after its fifth step."""
    whole, killed = make_job(tmp_path / "whole", "supervised"), make_job(tmp_path / "killed", "supervised")
    assert run_in_child(whole) == 0
    assert run_in_child(killed, "step", 5) == -9
    return whole, killed


def run_of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


def cut_metrics(run: Run) -> None:
    run.metrics.write_bytes(run.metrics.read_bytes()[:-40])


def zero_metrics(run: Run) -> None:
    run.metrics.write_bytes(bytes(run.metrics.stat().st_size))


def remove_metrics(run: Run) -> None:
    run.metrics.unlink()


def flip_a_byte(run: Run) -> None:
    """Invert one byte in the middle, which is in a tensor: the file can be read as before."""
    content = bytearray(run.checkpoint.read_bytes())
    content[len(content) // 2] ^= 0xFF
    run.checkpoint.write_bytes(content)


def wrong_shape(content: Any) -> Callable[[Run], None]:
    return lambda run: torch.save(content, run.checkpoint)


def other_network(run: Run) -> None:
    content = checkpoint.load(run.checkpoint)
    content["method"] = {name: tensor[..., :1] for name, tensor in content["method"].items() if tensor.ndim}
    torch.save(content, run.checkpoint)


@pytest.mark.parametrize(
    "harm",
    [
        flip_a_byte,
        cut_metrics,
        zero_metrics,
        remove_metrics,
        other_network,
        *map(wrong_shape, ({}, [1], 7, {"method": {}})),
    ],
)
def test_what_is_damaged_is_set_aside_and_made_anew(pair: tuple[Job, Job], harm: Callable[[Run], None]) -> None:
    whole, killed = pair
    run = run_of(killed)
    assert run.checkpoint.exists() and run.metrics.stat().st_size > 40
    harm(run)
    assert run_in_child(killed) == 0
    assert outcome(killed) == outcome(whole)
    assert (run.path / "checkpoint.pt.damaged-1").exists()
    assert run.metrics.read_bytes() == run_of(whole).metrics.read_bytes()


def test_metrics_are_synced_before_a_checkpoint_names_their_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def sync(path: Path) -> int:
        order.append(path.name)
        return path.stat().st_size

    monkeypatch.setattr("bench.run.recorder.sync", sync)
    monkeypatch.setattr(checkpoint, "save", lambda path, content, _: order.append(path.name))
    recorder = Recorder(Run(tmp_path), lambda: None)
    recorder.log({"step": 1})
    recorder.checkpoint({"method": {}, "optimizer": {}, "progress": {}})
    recorder.finish()
    recorder.close()
    assert order == ["metrics.jsonl", "checkpoint.pt"]


def failing(monkeypatch: pytest.MonkeyPatch, times: int, code: int) -> list[str]:
    """Let the first readings of a checkpoint fail."""
    monkeypatch.setattr(patience, "PAUSES", (0.0, 0.0, 0.0))
    original, failed = torch.load, list[str]()

    def load(file: Any, **options: Any) -> Any:
        if len(failed) < times and str(file.name).endswith("checkpoint.pt"):
            failed.append(file.name)
            raise OSError(code, "made to fail")
        return original(file, **options)

    monkeypatch.setattr(torch, "load", load)
    return failed


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_a_file_system_that_fails_for_a_moment_is_asked_again(
    pair: tuple[Job, Job], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    whole, killed = pair
    failed = failing(monkeypatch, 3, code)
    assert run_cell(killed) is State.DONE
    assert len(failed) == 3 and outcome(killed) == outcome(whole)


def test_a_file_system_that_goes_on_failing_costs_no_checkpoint(
    pair: tuple[Job, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = pair
    run = run_of(killed)
    before = run.checkpoint.read_bytes(), run.metrics.read_bytes()
    failing(monkeypatch, 4, errno.ESTALE)
    monkeypatch.setattr("bench.run.patience.LIMIT", 0.0)  # it would wait, and go on by itself
    assert run_cell(killed) is State.PREEMPTED
    assert "file system" in str(run.read_state()["reason"])
    assert (run.checkpoint.read_bytes(), run.metrics.read_bytes()) == before
    assert run_cell(killed) is State.DONE
    assert outcome(killed) == outcome(whole)


def test_memory_that_runs_out_while_loading_is_no_damage(
    pair: tuple[Job, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, killed = pair
    run = run_of(killed)
    before = run.checkpoint.read_bytes()

    def load(*_: Any, **__: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", load)
    assert run_cell(killed) is State.OUT_OF_MEMORY
    assert run.checkpoint.read_bytes() == before


def test_a_gpu_that_fails_while_the_state_is_restored_is_no_damage(
    pair: tuple[Job, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, killed = pair
    run = run_of(killed)
    before = run.checkpoint.read_bytes()

    def load(*_: Any) -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr("bench.train.step.Stepper.load", load)
    assert run_cell(killed) is State.FAILED
    assert run.read_state()["fault"] == "node"
    assert run.checkpoint.read_bytes() == before


def test_the_share_of_time_waited_for_data_counts_every_attempt(pair: tuple[Job, Job]) -> None:
    _, killed = pair
    run = run_of(killed)
    content = checkpoint.load(run.checkpoint)
    content["progress"] |= {"seconds": 90.0, "data_wait_seconds": 45.0}
    torch.save(content, run.checkpoint)
    assert run_in_child(killed) == 0
    assert list(read_jsonl(run.attempts))[-1]["attempt"] == 2
    assert 0.3 < read_json(run.cost)["training_wait_share"] < 0.55


def test_cost_has_one_definition_of_a_steps_seconds(pair: tuple[Job, Job]) -> None:
    whole, _ = pair
    assert run_cell(whole) is State.DONE
    cost = read_json(run_of(whole).cost)
    steps = read_json(run_of(whole).result)["iterations"]
    training = steps * cost["training_seconds_per_step"]
    assert training + cost["evaluation_seconds"] == pytest.approx(cost["seconds"])
    images = cost["training_images_per_s"] * training / steps
    assert images == pytest.approx(round(images)) and images >= 4
    assert not {"seconds_per_step", "images_per_s", "data_wait_share"} & cost.keys()


def test_timing_leaves_evaluations_out_wherever_they_fall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of timing are of five and three steps, evaluations come after every third."""
    made = make_job(tmp_path / "slow", "supervised")
    job = replace(made, resources={**made.resources, "log_every": 5})
    take, evaluate = Stepper.take, Hooks.evaluate

    def slow(method: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def slower(*arguments: Any) -> Any:
            time.sleep(seconds)
            return method(*arguments)

        return slower

    monkeypatch.setattr(Stepper, "take", slow(take, 0.05))
    monkeypatch.setattr(Hooks, "evaluate", slow(evaluate, 0.3))
    assert run_cell(job) is State.DONE
    lines, cost = list(read_jsonl(run_of(job).timing)), read_json(run_of(job).cost)
    assert [line["step"] for line in lines] == [5, 8]
    assert min(line["seconds_per_step"] for line in lines) >= 0.05
    assert cost["evaluation_seconds"] >= 3 * 0.3
    together = 5 * lines[0]["seconds_per_step"] + 3 * lines[1]["seconds_per_step"]
    assert together <= 8 * cost["training_seconds_per_step"]
