"""The signals that ask a process to stop: noted, so that a checkpoint can be written first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Signals:
    """Notes stop signals instead of dying from them, so that the loop can write a checkpoint first."""

    def __init__(self) -> None:
        self.received: int | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context lasts; only the main thread of a process can.

        A process that was started deaf to Ctrl-C, as shells do with what a script puts in the background, stays so.
        """
        deaf = {signal.SIGINT} if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else set()
        old = {number: signal.signal(number, self._note) for number in STOP_SIGNALS if number not in deaf}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
