"""What exceptions mean: texts as torch, CUDA, cuBLAS and cuDNN write them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import BinaryIO, cast

import pytest
import torch

from bench.errors import BenchError, MachineError
from bench.store.failures import Fault, blames_node, classify
from bench.store.run import State

DEBUG = "\nCUDA kernel errors might be asynchronously reported at some other API call."
MEMORY, NODE, CELL = (State.OUT_OF_MEMORY, Fault.CELL), (State.FAILED, Fault.NODE), (State.FAILED, Fault.CELL)


@pytest.mark.parametrize(
    ("text", "meant", "lost"),
    [
        (f"CUDA error: out of memory{DEBUG}", MEMORY, False),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", MEMORY, False),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", MEMORY, False),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", MEMORY, False),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", MEMORY, False),
        ("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory", MEMORY, False),
        (f"CUDA error: uncorrectable ECC error encountered{DEBUG}", NODE, True),
        (f"CUDA error: device-side assert triggered{DEBUG}", NODE, True),
        (f"CUDA error: unspecified launch failure{DEBUG}", NODE, True),
        (f"CUDA error: an illegal memory access was encountered{DEBUG}", NODE, True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", NODE, True),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", NODE, False),
        ("CUDA error: no CUDA-capable device is detected", NODE, False),
        ("No CUDA GPUs are available", NODE, False),
        ("CUDA error: CUDA driver version is insufficient for CUDA runtime version", NODE, False),
        ("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", NODE, False),
        ("CUDA driver error: out of memory", MEMORY, False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", MEMORY, False),
        ("Triton Error [CUDA]: out of memory", MEMORY, False),
        ("backend='inductor' raised: OutOfMemoryError: CUDA out of memory. Tried to allocate 20 MiB", MEMORY, False),
        ("x" * 600 + f" CUDA error: device-side assert triggered{DEBUG}", NODE, True),
        ("CUDA error: no kernel image is available for execution on the device", NODE, False),
        ("CUDA error: invalid device ordinal", NODE, False),
        ("cuDNN error: CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED", NODE, False),
        ("CUDA error: initialization error", NODE, False),
        ("parameter initialization error", CELL, False),
        ("the file has a misaligned address book", CELL, False),
        ("the queue is out of memory slots", CELL, False),
        ("CUDA error: invalid configuration argument", CELL, False),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", CELL, False),
        ("mat1 and mat2 shapes cannot be multiplied", CELL, False),
    ],
)
def test_errors_of_a_gpu(monkeypatch: pytest.MonkeyPatch, text: str, meant: tuple[State, Fault], lost: bool) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "gpu07")
    failure = classify(RuntimeError(text))
    assert ((failure.state, failure.fault), failure.device_lost) == (meant, lost)
    assert failure.reason.startswith("gpu07: ") == (meant is NODE)
    assert "\n" not in failure.reason


def test_other_errors() -> None:
    assert classify(BenchError("no weights")).fault is Fault.INPUT
    assert classify(MachineError("no GPU")).fault is Fault.NODE
    assert classify(MemoryError()).state is State.OUT_OF_MEMORY
    assert classify(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")).state is State.OUT_OF_MEMORY
    assert classify(OSError(errno.ENOSPC, "No space left on device")).reason.startswith("the disk is full")
    assert classify(OSError(errno.ESTALE, "Stale file handle")).state is State.PREEMPTED
    strict = RuntimeError(
        "nll_loss2d_forward_out_cuda_template does not have a deterministic implementation, but you set"
    )
    assert classify(strict).fault is Fault.INPUT
    assert classify(strict).reason.startswith("nll_loss2d_forward_out_cuda_template: not deterministic on CUDA; see")
    # A class or a file may be called anything: only what torch raises itself is an error of the device.
    assert classify(KeyError("device-side assert")).fault is Fault.CELL


def test_what_counts_against_a_node() -> None:
    assert blames_node({"state": "failed", "fault": "node", "at_once": False})
    assert blames_node({"state": "failed", "at_once": True})  # as recorded before there were faults
    assert not blames_node({"state": "failed", "fault": "cell", "at_once": False})
    assert not blames_node({"state": "out-of-memory", "at_once": True})


def _raised(act: Callable[[], None]) -> Exception:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


class Full:
    """A file on a disk that is full, or behind a server that is away."""

    def __init__(self, code: int) -> None:
        self.code = code

    def write(self, data: bytes) -> int:
        raise OSError(self.code, os.strerror(self.code))

    def flush(self) -> None:
        """Nothing is held back."""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_while_torch_writes_is_called_full(code: int) -> None:
    error = _raised(lambda: torch.save({"a": torch.zeros(3)}, cast(BinaryIO, Full(code))))
    failure = classify(error)
    assert failure.state is State.FAILED and failure.reason.startswith("the disk is full: OSError"), failure


def test_a_file_system_that_is_away_while_torch_writes_is_called_so() -> None:
    failure = classify(_raised(lambda: torch.save({"a": torch.zeros(3)}, cast(BinaryIO, Full(errno.ESTALE)))))
    assert failure.state is State.PREEMPTED and "did not answer" in failure.reason


def test_causes_are_followed_however_deep_they_lie() -> None:
    full = RuntimeError("x")
    full.__cause__ = ValueError("y")
    full.__cause__.__context__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/store/weights.pt")
    reason = classify(full).reason
    assert reason.startswith("the disk is full") and "/store/weights.pt" in reason
    loop = RuntimeError("a")
    loop.__context__ = ValueError("b")
    loop.__context__.__context__ = loop
    assert classify(loop).reason == "RuntimeError: a"


def test_a_library_that_keeps_the_text_alone_is_understood() -> None:
    text = "basic_ios::clear: iostream error: No space left on device"
    assert classify(RuntimeError(text)).reason.startswith("the disk is full")
