"""The device that a run gets, and what of determinism and TF32 is in effect."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import machine
from bench.errors import MachineError
from bench.files import REPOSITORY
from bench.train.setup import pick_device

REPORT = """
import warnings
warnings.simplefilter("error")
from bench.spec.resources import Resources
from bench.spec.sections import Numerics
from bench.train.setup import set_up_torch, torch_environment
import torch
for tf32 in (True, False):
    device = set_up_torch(Resources(device="cpu", threads=1), Numerics(tf32=tf32))
    found = torch_environment(device)
    assert (found["tf32"], found["tf32_convolutions"]) == (False, tf32), found
    assert found["deterministic_algorithms"] and not found["deterministic_warn_only"], found
    with torch.backends.cudnn.flags(enabled=True):  # reads every flag, and raises where the names contradict each other
        pass
    assert torch.get_float32_matmul_precision() == "highest"
"""


@pytest.fixture
def no_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.setattr(machine, "_listed_by_nvidia_smi", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_a_machine_without_a_gpu_is_a_cpu_unless_a_gpu_is_asked_for(no_cuda: Path) -> None:
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(MachineError, match=r"^a GPU is asked for .*device: cpu") as raised:
        pick_device("cuda")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("cuda", "says"), [(None, "is built without CUDA: install a wheel"), ("13.2", "must be able to run CUDA 13.2")]
)
def test_a_gpu_that_torch_can_not_use_is_no_silent_cpu(
    no_cuda: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, says: str
) -> None:
    from bench.run.doctor import _device

    (no_cuda / "nvidia0").touch()
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(MachineError, match=f"^the driver has 1 GPU.*{says}"):
        pick_device("auto")
    assert {check["name"]: check["verdict"] for check in _device()}["gpu"] == "problem"
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # who hides the GPU wants none
    assert pick_device("auto") == torch.device("cpu")
    assert {check["name"]: check["verdict"] for check in _device()}["gpu"] == "note"


@pytest.mark.parametrize("visible", ["3", "abc", "all", "1,-1,0"])
def test_a_list_that_names_no_gpu_here_is_no_silent_cpu(
    no_cuda: Path, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    """A container with one of four GPUs, say, that inherits the host's index."""
    (no_cuda / "nvidia3").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(MachineError, match=f"CUDA_VISIBLE_DEVICES='{visible}' names none of its 1: change it"):
        pick_device("auto")


def test_what_is_set_is_in_effect_without_a_warning() -> None:
    subprocess.run([sys.executable, "-c", REPORT], cwd=REPOSITORY, check=True)
