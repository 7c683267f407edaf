"""Checkpoints: everything a run needs to go on as if it had never stopped, written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.store.files import write_atomically


def save(path: Path, content: Any) -> None:
    """Write tensors and plain values, atomically."""
    write_atomically(path, lambda file: torch.save(content, file))


def load(path: Path, device: torch.device) -> Any:
    """Read what :func:`save` wrote; code in the file is never run.

    Returns:
        None where there is no such file, or none that can be read: a run starts over then, which costs time and
        changes no result.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged zip raises many types
        print(f"{path}: unreadable checkpoint, starting over ({type(error).__name__}: {error})")
        return None


def digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a state dict's names, types, shapes and bytes."""
    result = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        result.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return result.hexdigest()
