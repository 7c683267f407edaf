"""What an exception means for a run: its state, the reason in one line, whose fault it is, and what is lost with it."""

from __future__ import annotations

import errno
import os
import re
import socket
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.errors import BenchError, MachineError, causes
from bench.patience import away
from bench.store.run import State, StateRecord

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))  # where a library keeps the text alone

# The texts are those of cudaGetErrorString, which torch writes after "CUDA error: ", and the names of cuBLAS' and cuDNN's
# status (CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED).
_NO_MEMORY = re.compile(
    r"can't allocate memory|CUDA (driver )?error: out of memory|CUDA out of memory|Triton Error \[CUDA\]: out of memory"
    r"|_STATUS_\w*ALLOC(ATION)?_FAILED",
    re.IGNORECASE,
)
# Errors after which no call of the process to CUDA succeeds ("sticky"). Broken hardware causes them as well as a bug does; a
# bug shows again on the next node, and a cell is moved only so often.
_LOST = (
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "hardware stack error",
    "or a hardware error",
    "device-side assert",
    "unspecified launch failure",
    "an illegal memory access",
    "an illegal instruction",
    "CUDA error: misaligned address",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "the launch timed out and was terminated",
    "CUDA error: unknown error",
    "CUDA unknown error",
    "_STATUS_EXECUTION_FAILED",
    "GPU is lost",
    "fallen off the bus",
    "the MPS client has been terminated",
)
# What a node answers whose GPU, or driver, is absent, taken by another process or of the wrong version or kind.
_ABSENT = (
    "no CUDA-capable device",
    "No CUDA GPUs are available",
    "device(s) is/are busy or unavailable",
    "Found no NVIDIA driver",
    "driver version is insufficient",
    "NVIDIA driver on your system is too old",
    "system driver mismatch",
    "Driver/library version mismatch",
    "system not yet initialized",
    "CUDA error: initialization error",
    "CUDA driver initialization failed",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
    "no kernel image is available",
    "invalid device ordinal",
    "Unexpected error from cudaGetDeviceCount",
    "MPS client failed to connect",
    "MPS server is not ready",
)

_NOT_DETERMINISTIC = "does not have a deterministic implementation"
_DETERMINISTIC_ADVICE = 'see "A new method" in CONTRIBUTING.md for what to use instead'


def _any_of(texts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)), re.IGNORECASE)


_LOST_ERROR, _ABSENT_ERROR = _any_of(_LOST), _any_of(_ABSENT)


class Fault(str, Enum):
    """Whose fault a failure is."""

    INPUT = "input"  # the same everywhere, until somebody changes the input
    CELL = "cell"  # the code's, or nobody knows
    NODE = "node"  # the machine's: elsewhere the cell may go on


@dataclass(frozen=True)
class Failure:
    """What an exception means.

    Attributes:
        state: of the run.
        reason: one line; it names the node where the fault is the node's.
        fault: whose.
        device_lost: nothing works on the device any more in this process.
    """

    state: State
    reason: str
    fault: Fault
    device_lost: bool = False


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that memory, of the host or of a device, has run out."""
    named = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return named or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None)


def _in_words(error: BaseException) -> str:
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"


def classify(error: Exception, place: Path | None = None) -> Failure:
    """Return what an exception means for the run that it ended; `place` is as for ``bench.patience.is_away``."""
    whole, reason = " ".join(str(error).split()), _in_words(error)
    if is_out_of_memory(error):
        return Failure(State.OUT_OF_MEMORY, reason, Fault.CELL)
    for cause in causes(error):
        if (isinstance(cause, OSError) and cause.errno in _FULL) or any(text in str(cause) for text in _FULL_TEXTS):
            return Failure(State.FAILED, f"the disk is full: {_in_words(cause)}", Fault.CELL)
    if (unanswered := away(error, place)) is not None:  # nothing is wrong with the cell, which goes on later
        why = f"the file system did not answer ({_in_words(unanswered)}); run again to go on"
        return Failure(State.PREEMPTED, why, Fault.CELL)
    if _NOT_DETERMINISTIC in whole:  # torch's own advice, `warn_only`, isn't for a benchmark
        operator = whole.split(_NOT_DETERMINISTIC)[0].removesuffix(" ")
        return Failure(State.FAILED, f"{operator}: not deterministic on CUDA; {_DETERMINISTIC_ADVICE}", Fault.INPUT)
    lost = isinstance(error, RuntimeError) and _LOST_ERROR.search(whole) is not None
    absent = isinstance(error, RuntimeError) and _ABSENT_ERROR.search(whole) is not None
    if lost or absent or isinstance(error, MachineError):
        return Failure(State.FAILED, f"{_node()}: {reason}", Fault.NODE, lost)
    return Failure(State.FAILED, reason, Fault.INPUT if isinstance(error, BenchError) else Fault.CELL)


def blames_node(state: StateRecord) -> bool:
    """Tell whether a recorded failure counts against its node, so that the cell should be tried on another one.

    It does where the error is the node's, and where it came before the first step and isn't the input's.
    """
    failed = state["state"] == State.FAILED.value
    return failed and (state.get("fault") == Fault.NODE.value or bool(state.get("at_once")))


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()
