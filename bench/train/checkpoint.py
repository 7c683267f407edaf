"""Checkpoints: everything a run needs to go on as if it had never stopped, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import Damaged
from bench.files import write_atomically
from bench.patience import open_file, patiently
from bench.store.failures import is_out_of_memory
from bench.store.results import check_archive

SECOND_LOOK = 1.0  # seconds before a file counts as damaged: what another host wrote may not have arrived whole


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
        self._small: deque[Future[None]] = deque()
        self._failed = False  # only the thread changes it

    def write(self, path: Path, content: Any) -> None:
        """Copy `content` to host memory and write it in the background; blocks while too many files wait."""
        while self._open and (self._open[0].done() or len(self._open) > self.WAITING):
            self._open.popleft().result()
        self._open.append(self._pool.submit(self._run, partial(save, path, on_host(content), self._may_write)))

    def call(self, write: Callable[[], None]) -> None:
        """Write something small in its turn: it may wait beside the files that :meth:`write` counts."""
        while self._small and self._small[0].done():
            self._small.popleft().result()
        self._small.append(self._pool.submit(self._run, write))

    def _run(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except BaseException:
            self._failed = True
            raise

    def finish(self) -> None:
        """Wait until everything is on the disk."""
        for waiting in (self._open, self._small):
            while waiting:
                waiting.popleft().result()

    def close(self) -> None:
        """Wait, and end the thread; errors are no longer raised."""
        wait((*self._open, *self._small))
        self._pool.shutdown()


def load(path: Path) -> Any:
    """Read what :func:`save` wrote, to host memory; code in the file is never run.

    A file system that fails for a moment (a stale handle, an input/output error) is asked again for a few seconds, and
    what seems damaged is looked at twice.

    Returns:
        None where there is no such file.

    Raises:
        Damaged: if the content can't be understood.
        OSError: if the file can't be read.
        MemoryError, RuntimeError: if memory runs out.
    """
    try:
        return patiently(lambda: _load(path))
    except Damaged:
        time.sleep(SECOND_LOOK)
        return patiently(lambda: _load(path))


def _load(path: Path) -> Any:
    try:
        with open_file(path) as raw, io.BufferedReader(raw) as file:
            check_archive(file, path, thorough=True)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Damaged:
        raise
    except Exception as error:  # a damaged pickle raises many types, an OSError of its own (EINVAL) among them
        system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if system or is_out_of_memory(error):
            raise
        _read_through(path)  # torch may hide an error of the file system behind one of its own
        raise Damaged(path, f"unreadable: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from None


def _read_through(path: Path) -> None:
    """Read a whole file; raises OSError where that isn't possible."""
    with open_file(path) as file:
        while file.read(1 << 24):
            pass


def digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a state dict's names, types, shapes and bytes."""
    result = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        result.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return result.hexdigest()
