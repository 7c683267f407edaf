"""Checkpoints: everything a run needs to go on as if it had never stopped, written whole or not at all."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.files import write_atomically


def save(path: Path, content: Any, before_rename: Callable[[], None] | None = None) -> None:
    """Write tensors and plain values, atomically; what `before_rename` raises leaves `path` as it was."""
    write_atomically(path, lambda file: torch.save(content, file), before_rename)


def on_host(content: Any) -> Any:
    """Return a copy of nested dicts, lists and tuples whose tensors lie in host memory and nobody else changes."""
    if isinstance(content, Tensor):
        return content.detach().to("cpu", copy=True)
    if isinstance(content, Mapping):
        return {key: on_host(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(on_host(value) for value in content)
    return content


class Writer:
    """Writes files while training goes on: one thread, one file after the other, in the order in which they were given.

    Files are as whole as ever, only later. An error of a write is raised by a later call; what was given after the file
    that failed is not written, because it may speak of it (a checkpoint knows which weights are the best).

    Args:
        may_write: called on the thread when a file is complete but doesn't have its name yet; raises if it must not.
    """

    WAITING = 1  # files that may wait while one is written; more would fill the memory where the disk is slow

    def __init__(self, may_write: Callable[[], None]) -> None:
        self._may_write = may_write
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._open: deque[Future[None]] = deque()
        self._failed = False  # only the thread changes it

    def write(self, path: Path, content: Any) -> None:
        """Copy `content` to host memory and write it behind the caller's back; waits while too many files wait."""
        while self._open and (self._open[0].done() or len(self._open) > self.WAITING):
            self._open.popleft().result()
        self._open.append(self._pool.submit(self._save, path, on_host(content)))

    def _save(self, path: Path, content: Any) -> None:
        if self._failed:
            return
        try:
            save(path, content, self._may_write)
        except BaseException:
            self._failed = True
            raise

    def finish(self) -> None:
        """Wait until everything is on the disk."""
        while self._open:
            self._open.popleft().result()

    def close(self) -> None:
        """Wait, and end the thread; errors are no longer raised."""
        wait(self._open)
        self._pool.shutdown()


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
