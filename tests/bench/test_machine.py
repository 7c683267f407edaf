from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from bench import machine
from bench.files import REPOSITORY

ASK_TWICE = """
import resource
from bench.machine import keep_freed_memory

def ask():
    blocks = [b"\\1" * (12 << 20) for _ in range(8)]  # all at once, and freed at the end
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

{call}
print(-ask() + ask())
"""


def faults(call: str) -> int:
    """Return how many pages the kernel had to give a process that asks for 96 MiB for the second time."""
    code = ASK_TWICE.format(call=call)
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library isn't glibc")
def test_freed_memory_is_not_given_back_to_the_kernel() -> None:
    assert 10 * faults("keep_freed_memory()") < faults("")


@pytest.mark.parametrize(
    ("visible", "files", "expected"),
    [
        (None, "0 1", ["0", "1"]),
        (None, "3", ["0"]),  # a container with one of four: CUDA counts what it may have
        (None, "", []),
        ("0,2", "0 1 2", ["0", "2"]),
        (" 1 , 0 ", "0 1", ["1", "0"]),
        ("2,0", "0 1", []),  # there is no third
        ("0", "", ["0"]),
        ("GPU-8932f937-d72c,GPU-1f", "0 1", ["GPU-8932f937-d72c", "GPU-1f"]),
        ("MIG-GPU-89/1/0", "0", ["MIG-GPU-89/1/0"]),
        ("", "0", []),
        ("-1", "0", []),
        ("0,-1,1", "0 1", ["0"]),
        ("NoDevFiles", "0", []),
        ("0,1,0", "0 1", ["0", "1"]),
    ],
)
def test_the_gpus_are_those_that_cuda_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, files: str, expected: list[str]
) -> None:
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.setattr(machine, "_listed_by_nvidia_smi", lambda: 0)
    for name in (*files.split(), "ctl"):
        (tmp_path / f"nvidia{name}").touch()
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpus() == expected
    workers = [machine.gpu_for(worker) for worker in range(3)]
    assert workers == ([expected[i % len(expected)] for i in range(3)] if expected else [None] * 3)


def test_a_file_that_can_not_be_opened_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a job's cgroup denies the GPUs of other jobs."""
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidia0").mkdir()
    (tmp_path / "nvidia1").touch()
    assert machine.gpus() == ["0"]


def test_gpus_without_files_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A100 (UUID: GPU-1)'\necho '  MIG 1g.5gb Device 0: (UUID: MIG-2)'\n")
    fake.chmod(0o755)
    monkeypatch.setattr(machine, "DEVICES", tmp_path / "none")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine._listed_by_nvidia_smi.cache_clear()
    assert machine.gpus() == ["0"]
    machine._listed_by_nvidia_smi.cache_clear()
