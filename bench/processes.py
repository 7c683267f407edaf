"""Processes forked from a server that has imported what they need, and what is done where there can't be such a server."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.machine import child_environment

# The server is asked twice: one that has died is started again. Where it can't be reached (its socket's path is too long,
# or was cleaned away) a fresh interpreter takes some seconds more.
_METHODS = ("forkserver", "forkserver", "spawn")


def start(target: Callable[..., None], arguments: Sequence[Any], preload: Sequence[str]) -> BaseProcess:
    """Start a process that calls `target` in this one's environment.

    Args:
        target: a function of an importable module.
        arguments: its arguments; open pipes may be among them.
        preload: modules that the server imports, once.

    Raises:
        OSError: if no process can be started.
    """
    # Else the server would not find ours from another folder, or in safe path mode.
    os.environ["PYTHONPATH"] = child_environment()["PYTHONPATH"]
    for number, method in enumerate(_METHODS, 1):
        context: Any = multiprocessing.get_context(method)
        context.set_forkserver_preload(list(preload))
        process: BaseProcess = context.Process(target=_enter, args=(dict(os.environ), target, *arguments))
        try:
            process.start()
        except (EOFError, OSError):
            if number == len(_METHODS):
                raise
        else:
            return process
    raise AssertionError("unreachable")


def _enter(environment: dict[str, str], target: Callable[..., None], *arguments: Any) -> None:
    """Call a function in the environment that its process was started from; the server's is as old as itself."""
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    target(*arguments)


def tidy_up_for_parent() -> None:
    """Remove the folder of the server's socket, ``pymp-…``, from a process whose parent was killed before it could."""
    parent = multiprocessing.parent_process()
    server = getattr(forkserver, "_forkserver", None)
    address = getattr(server, "_forkserver_address", None)
    if parent is None or parent.is_alive() or not isinstance(address, str):
        return
    if (folder := Path(address).parent).name.startswith("pymp-"):
        shutil.rmtree(folder, ignore_errors=True)
