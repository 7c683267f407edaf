"""Torch as every run has it: device, threads, determinism, and what of it is in effect."""

from __future__ import annotations

import os
from typing import Any

import torch

from bench import machine
from bench.spec.sections import Resources


def set_up_torch(resources: Resources) -> torch.device:
    """Fix determinism, threads and the handling of memory as every run has them; return the device."""
    machine.keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(resources.threads or machine.default_threads())
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Otherwise every tensor is filled with NaN before it is written: a debugging aid that costs a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    return pick_device(resources.device)


def torch_environment(device: torch.device) -> dict[str, Any]:
    """Return the device, and the determinism that is in effect: what torch reports, not what was asked for."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "deterministic_warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def pick_device(wanted: str) -> torch.device:
    """Return the device for ``resources.device``."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def hardware(device: torch.device) -> str:
    """Name a device and, of a CPU, the threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{machine.cpu_model()}, {torch.get_num_threads()} threads"
