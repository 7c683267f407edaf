"""A process of its own for a cell, and how it ended: seen from the process itself, not only by the server that forked it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from bench.processes import start

PRELOAD = ["torch", "torchvision", "bench.run.worker", "bench.run.recorder", "bench.train.build", "bench.train.loop"]
_UNKNOWN = 255  # what multiprocessing gives for an exit code that its server took to the grave


class Child:
    """A process that was forked by a server, which may die before it.

    The process holds one end of a pipe as long as it lives; the server is only asked for its exit code.

    Args:
        target: what runs in the process; the pipe's end is its first argument.
        arguments: the others.

    Raises:
        OSError: if no process can be started.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self.alive, theirs = multiprocessing.Pipe(duplex=False)
        with contextlib.closing(theirs):
            self._process = start(target, (theirs, *arguments), PRELOAD)

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
