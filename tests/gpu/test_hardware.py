"""A run on CUDA records its device, and doesn't go on on a CPU unless that is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import machine
from bench.files import REPOSITORY, read_json, read_jsonl, write_json
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from tests import noop_cuda
from tests.conftest import GRID, TOY


def test_a_run_that_began_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noop_cuda.need()
    monkeypatch.setenv("BENCH_PLUGINS", str(TOY))
    grid, store = tmp_path / "g.yaml", tmp_path / "store"
    grid.write_text(GRID + "resources: {threads: 1}\n")
    command = [sys.executable, "bench.py", "run", str(grid), "--store", str(store)]
    done = subprocess.run(command, env=noop_cuda.environment(), cwd=REPOSITORY, capture_output=True, text=True)
    run = Run(next(store.glob("*/cell.json")).parent)
    rounding = read_json(run.rounding)
    assert rounding["device"] == "cuda", done.stdout + done.stderr
    (attempt,) = read_jsonl(run.attempts)
    # The state's step is nobody's here: what a run without kernels counts on its device is what memory held.
    recorded = read_json(run.state, dict)
    assert rounding["models"] == recorded["hardware"] == [attempt["device"]]
    write_json(run.state, {**recorded, "step": 0})
    assert (attempt["tf32"], attempt["tf32_convolutions"], attempt["deterministic_warn_only"]) == (False, False, False)
    run.result.unlink(missing_ok=True)
    run.checkpoint.touch()  # what a GPU's numbers would have left
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "driver_gpus", lambda: 0)
    job = Job(str(store), run.id, {}, {"device": "auto", "threads": 1}, retry=True)
    assert run_cell(job) is State.FAILED
    state = run.read_state()
    assert "began on" in str(state["reason"]) and "device: cpu" in str(state["reason"])
    assert (state["fault"], read_json(run.rounding)) == ("node", rounding)
