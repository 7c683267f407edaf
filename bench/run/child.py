"""A process of its own for a cell, and how it ended: seen from the process itself, not only by the server that forked it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from bench.aside import set_aside
from bench.errors import Damaged
from bench.patience import open_file
from bench.processes import start

# torch imports its compiler, which takes as long as itself, at the first step of any optimizer, in every process anew.
PRELOAD = (
    *("torch", "torch._dynamo", "torch._inductor"),
    *("bench.run.worker", "bench.run.recorder", "bench.train.build", "bench.train.loop", "bench.train.setup"),
)
_UNKNOWN = 255  # what multiprocessing gives for an exit code that its server took to the grave


def print_to(log: Path) -> None:
    """Send everything printed to a run's log; nowhere, where there can't be one (the disk is full): the state says why."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file: IO[Any] = _open_log(log)
    except OSError:
        file = open(os.devnull, "ab")  # noqa: SIM115, PTH123 - closed below
    with file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _open_log(log: Path) -> IO[Any]:
    try:
        return open_file(log, "ab")
    except Damaged as error:  # a cell may be about to begin in two processes: the one that doesn't get it has no log
        with contextlib.suppress(OSError):
            set_aside(log, error.why)
        return open_file(log, "ab")


class Child:
    """A process that was forked by a server, which may die before it.

    The process holds one end of a pipe as long as it lives; the server is only asked for its exit code.

    Args:
        target: what runs in the process; the pipe's end is its first argument.
        arguments: the others.
        modules: that the server imports besides what every cell needs; the first process of a server decides.

    Raises:
        OSError: if no process can be started.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any, modules: Iterable[str] = ()) -> None:
        self.alive, theirs = multiprocessing.Pipe(duplex=False)
        with contextlib.closing(theirs):
            self._process = start(target, (theirs, *arguments), (*PRELOAD, *modules))

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended; `alive` becomes readable then."""
        return self.alive.poll()  # nothing is ever sent

    def exit_code(self) -> int | None:
        """Return the exit code of a process that has ended, negative for a signal; None where nobody knows it any more."""
        self._process.join(5.0)
        code = self._process.exitcode
        return None if code == _UNKNOWN else code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, where it hasn't ended."""
        if self.pid is not None and not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
