"""What decides rounding is kept; other hardware is said, and another kind of device refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.states import _facts
from bench.errors import BenchError, MachineError
from bench.files import append_jsonl, read_json, write_json
from bench.spec.resources import Resources
from bench.store import rounding
from bench.store.rounding import as_it_began, mixed_code, went_on
from bench.store.run import Run


def go_on(run: Run, resources: Resources, device: str, model: str, code: str = "c") -> list[str]:
    return rounding.go_on(run, resources, device, model, code)["models"]


CPU, AUTO = Resources(device="cpu", threads=2), Resources(threads=2)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a checkpoint that began on an A100."""
    run = Run(tmp_path / "cell")
    run.path.mkdir()
    assert go_on(run, AUTO, "cuda", "NVIDIA A100") == ["NVIDIA A100"]
    run.checkpoint.touch()
    return run


def test_other_models_are_noted_in_order(run: Run) -> None:
    go_on(run, AUTO, "cuda", "NVIDIA A100")
    go_on(run, AUTO, "cuda", "NVIDIA H100")
    models = go_on(run, AUTO, "cuda", "NVIDIA A100")
    assert models == ["NVIDIA A100", "NVIDIA H100", "NVIDIA A100"]
    assert went_on(models) == "began on NVIDIA A100 and went on on NVIDIA H100, then NVIDIA A100"
    kept = {"threads": 2, "compile": False, "device": "cuda", "models": models, "codes": ["c"]}
    assert read_json(run.rounding) == kept
    assert went_on(models[:1]) is went_on([]) is went_on(None) is None


def test_another_kind_of_device_has_to_be_named(run: Run) -> None:
    with pytest.raises(MachineError, match=r"began on NVIDIA A100 \(cuda\) .* on EPYC \(cpu\).*`device: cpu`"):
        go_on(run, AUTO, "cpu", "EPYC")
    assert go_on(run, CPU, "cpu", "EPYC") == ["NVIDIA A100", "EPYC"]
    with pytest.raises(MachineError, match="`device: cuda`"):
        go_on(run, AUTO, "cuda", "NVIDIA A100")
    run.checkpoint.unlink()  # nothing to go on with: it begins anew, wherever that is
    assert go_on(run, AUTO, "cuda", "NVIDIA A100") == ["NVIDIA A100"]


def test_files_from_before_the_hardware_was_noted_are_read(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_json(run.rounding, {"threads": 3, "compile": True})
    run.checkpoint.touch()
    assert as_it_began(run, Resources(threads=1)) == Resources(threads=3, compile=True)
    append_jsonl(run.attempts, {"device": "cpu", "cpu": "EPYC"})
    with pytest.raises(MachineError, match="began on EPYC"):
        go_on(run, AUTO, "cuda", "NVIDIA A100")
    assert go_on(run, AUTO, "cpu", "Xeon") == ["EPYC", "Xeon"]


def test_a_gpus_run_from_before_this_version_is_not_mixed_with_its_numerics(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_json(run.rounding, {"threads": 3, "compile": False})
    append_jsonl(run.attempts, {"device": "NVIDIA A100", "cpu": "EPYC"})
    assert go_on(run, AUTO, "cuda", "NVIDIA A100") == ["NVIDIA A100"]  # no checkpoint: it begins anew
    write_json(run.rounding, {"threads": 3, "compile": False})
    run.checkpoint.touch()
    with pytest.raises(BenchError, match="remove the folder to run it anew"):
        go_on(run, AUTO, "cuda", "NVIDIA A100")


def test_a_run_that_begins_anew_has_one_model(run: Run) -> None:
    assert rounding.began_anew(run, CPU, "cpu", "EPYC", "d")["models"] == ["EPYC"]
    assert go_on(run, AUTO, "cpu", "EPYC") == ["EPYC"]


def test_other_code_is_noted_in_order_unless_the_run_begins_anew(run: Run) -> None:
    for code in ("c", "d", "d"):
        noted = rounding.go_on(run, AUTO, "cuda", "NVIDIA A100", code)
    assert noted["codes"] == ["c", "d"] and mixed_code(noted["codes"]) == "mixed code: c → d"
    assert rounding.began_anew(run, AUTO, "cuda", "NVIDIA A100", "d")["codes"] == ["d"]
    assert mixed_code(["d"]) is mixed_code(None) is None


def test_the_code_of_runs_from_before_it_was_noted_is_that_of_their_last_attempt(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_json(run.rounding, {"threads": 2, "compile": False, "device": "cpu", "models": ["EPYC"]})
    append_jsonl(run.attempts, {"device": "cpu", "cpu": "EPYC", "code_sha256": "c"})
    run.checkpoint.touch()
    assert rounding.go_on(run, CPU, "cpu", "EPYC", "d")["codes"] == ["c", "d"]


def test_cuda_graphs_are_left_behind_with_the_gpu(tmp_path: Path) -> None:
    run = Run(tmp_path)
    go_on(run, Resources(threads=2, compile="reduce-overhead"), "cuda", "NVIDIA A100")
    assert as_it_began(run, Resources(compile=False)).compile == "reduce-overhead"
    assert as_it_began(run, Resources(device="cpu", compile=False)).compile is True


def test_status_says_it_beside_the_reason() -> None:
    row = {"id": "c", "state": "running", "step": 1, "iterations": 2, "hardware": ["A", "B"], "reason": None}
    assert _facts(row, ())["reason"] == "began on A and went on on B"
    assert _facts({**row, "reason": "why"}, ())["reason"] == "why; began on A and went on on B"
    assert _facts({**row, "hardware": ["A"]}, ())["reason"] == ""
