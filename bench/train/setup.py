"""Torch as every run has it: device, threads, determinism, TF32, and what of it is in effect."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch

from bench import machine
from bench.errors import MachineError
from bench.spec.resources import Resources
from bench.spec.sections import Numerics


def set_up_torch(resources: Resources, numerics: Numerics) -> torch.device:
    """Fix determinism, TF32, threads and the handling of memory as every run has them; return the device.

    Raises:
        MachineError: if there is no such device (see :func:`pick_device`).
    """
    machine.keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(resources.threads or machine.default_threads())
    # Strict: with `warn_only` torch picks kernels that aren't deterministic, such as attention's backward pass.
    torch.use_deterministic_algorithms(True)
    # Otherwise every tensor is filled with NaN before it is written: a debugging aid that costs a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    _set_tf32(numerics.tf32)
    return pick_device(resources.device)


def _set_tf32(convolutions: bool) -> None:
    """Allow or forbid TF32 in convolutions, which use it by torch's defaults, and forbid it in matrix products.

    Resizing and other exact steps are matrix products on CUDA (``bench.resize``), and little of a network's work is.
    These names set torch's newer ``fp32_precision`` as well where there is one (from 2.9 on). Set by the newer names alone,
    the older ones contradict them, and what reads those then raises: ``cudnn.flags``, and the compiler of some versions.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.9 and later announce the newer names
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = convolutions


def _tf32_in_effect() -> dict[str, bool]:
    """Return whether matrix products and convolutions in fp32 may use TF32."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # reading the older names would warn
        return {"tf32": matmul.fp32_precision == "tf32", "tf32_convolutions": cudnn.conv.fp32_precision == "tf32"}
    return {"tf32": matmul.allow_tf32, "tf32_convolutions": cudnn.allow_tf32}


def torch_environment(device: torch.device) -> dict[str, Any]:
    """Return the device, and the determinism that is in effect: what torch reports, not what was asked for.

    `device` is its model; `cpu_capability` the CPU's instructions that torch's kernels use, e.g. `AVX2`; `tf32` is of matrix
    products, `tf32_convolutions` of convolutions.
    """
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "deterministic_warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        **_tf32_in_effect(),
    }


def pick_device(wanted: str) -> torch.device:
    """Return the device for ``resources.device``; `auto` takes a GPU where there is one.

    Raises:
        MachineError: if a GPU is asked for, or the driver lists one, and torch can't use any: a run must not spend days on
            the CPU because of a wrong wheel or an old driver.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda" or unusable_gpus():
        raise MachineError(why_no_gpu(wanted))
    return torch.device("cpu")


def unusable_gpus() -> bool:
    """Tell whether the driver has a GPU for this process, which nobody has hidden, and torch can use none."""
    return not torch.cuda.is_available() and machine.driver_gpus() > 0 and not machine.gpus_are_hidden()


def why_no_gpu(wanted: str) -> str:
    """Return in one line why torch has no GPU although one is asked for (`cuda`) or listed, and what to do."""
    count, visible = machine.driver_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None:
        why = f"torch {torch.__version__} is built without CUDA: install a wheel that has it"
    elif count == 0:
        why = "the driver gives this process none: ask the cluster, or the container, for one"
    elif visible is not None and not machine.gpus():
        why = f"CUDA_VISIBLE_DEVICES='{visible}' names none of its {count}: change it"
    else:
        why = f"the driver must be able to run CUDA {torch.version.cuda}: see nvidia-smi; update it, or use an older wheel"
    asked = "a GPU is asked for (device: cuda)" if wanted == "cuda" else f"the driver has {count} GPU(s)"
    hide = "" if wanted == "cuda" else " or CUDA_VISIBLE_DEVICES=''"
    return f"{asked}, but torch can use none; {why}. To insist on the CPU, set resources: {{device: cpu}}{hide}"


def hardware(device: torch.device, processes: int = 1) -> str:
    """Name a device and, of a CPU, the threads that torch uses, in each of a cell's processes."""
    if device.type == "cuda":
        return model(device, processes)
    return f"{model(device, processes)}, {torch.get_num_threads()} threads"


def model(device: torch.device, processes: int = 1) -> str:
    """Return the model's name of a device, with the number of a cell's processes where there are several."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return name if processes == 1 else f"{processes} × {name}"
    return machine.cpu_model() + (f" ({processes} processes)" if processes > 1 else "")
