"""The memory sweep on CUDA: every setting is measured, without cuBLAS's workspace, and a limit is a state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.files import REPOSITORY
from tests import noop_cuda

SPEC = """
memory:
  device: cuda
  limit_gb: 0.1
  series:
    - {label: reco, probe: reco, set: {batch: 1, size: [16, 16], channels: 8, classes: 3, num_negatives: 16},
       axes: {num_queries: [8, 16]}}
    - {label: regions, probe: region_contrast, set: {batch: 1, size: [16, 16], channels: 8, classes: 3},
       axes: {num_regions: [10]}}
    - {label: dense, probe: pixel_contrast, set: {batch: 1, size: [128, 128], channels: 4, classes: 3},
       axes: {num_pixels: [512, 16384]}}
"""
WORKSPACE = 8 * 4096 * 1024  # bytes of cuBLAS's, as training has it
FLOATS_512 = 4 * 512**2  # bytes of one matrix of all pairs


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    noop_cuda.need()
    folder = tmp_path_factory.mktemp("sweep")
    path = folder / "small.yaml"
    path.write_text(SPEC)
    command = [sys.executable, "bench.py", "memory", str(path), "--store", str(folder / "store"), "--json"]
    environment = noop_cuda.environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(REPOSITORY), timeout=300)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def test_every_setting_is_measured_and_a_limit_is_out_of_memory(rows: list[dict[str, Any]]) -> None:
    assert [row["state"] for row in rows] == ["done", "done", "done", "done", "out-of-memory"], rows


def test_the_workspace_of_cublas_is_not_the_losss(rows: list[dict[str, Any]]) -> None:
    assert all(0 < row["extra_bytes"] < WORKSPACE / 4 for row in rows if row["state"] == "done")
    dense = rows[3]["extra_bytes"]
    assert FLOATS_512 < dense < 16 * FLOATS_512
