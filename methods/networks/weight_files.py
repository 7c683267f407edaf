"""Files of weights: where they lie, how they are read, and into what they fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import BenchError


def folder() -> Path:
    """Return the folder of weights files: ``BENCH_WEIGHTS``, by default ``~/.cache/semisegbench/weights``."""
    chosen = os.environ.get("BENCH_WEIGHTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "semisegbench" / "weights"


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file, PyTorch's or safetensors', on the CPU; no code in it is run.

    Raises:
        BenchError: if it is damaged or holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # comes with timm

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BenchError(f"weights: cannot read '{path}' as a PyTorch state dict: {first}") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BenchError(f"weights: '{path}' holds no plain state dict (parameter names to tensors)")
    return dict(state)


def load_into(module: nn.Module, state: Mapping[str, Tensor], ignore: tuple[str, ...], source: str) -> None:
    """Load a backbone's state dict; keys that begin with one of `ignore` (the ImageNet classifier) are left out.

    Raises:
        BenchError: if a key is missing, left over or has another shape.
    """
    own = {key: value for key, value in module.state_dict().items() if not key.startswith(ignore)}
    new = {key: value for key, value in state.items() if not key.startswith(ignore)}
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # older files are without them
    problems = [f"{key} is missing" for key in own if key not in new and key not in counters]
    problems += [f"{key} is not part of it" for key in new if key not in own]
    problems += [
        f"{key} is {tuple(new[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in new and new[key].shape != own[key].shape
    ]
    if problems:
        raise BenchError(f"weights '{source}' don't fit the backbone: {problems[0]} ({len(problems)} such keys)")
    module.load_state_dict(new, strict=False)
