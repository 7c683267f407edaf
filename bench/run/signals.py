"""The signals that ask a process to stop: noted, so that a checkpoint can be written first."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end. Attributes: its number, and the exit code that shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after TERM, 129 after HUP."""
        return 128 + self.number


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def raising() -> Iterator[None]:
    """Turn Ctrl-C, TERM and HUP into :class:`Interrupted` while the context lasts, in the main thread of a process.

    A signal that the process was started to ignore, as ``nohup`` does with HUP, stays ignored.
    """
    with _handled(INTERRUPTING, _raise):
        yield


@contextmanager
def _handled(numbers: Sequence[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    wanted = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    old = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


class Signals:
    """Notes stop signals instead of dying from them, so that the loop can write a checkpoint first."""

    def __init__(self) -> None:
        self.received: int | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    @contextmanager
    def listening(self) -> Iterator[Signals]:
        """Listen, as the context's value, while it lasts; only the main thread of a process can.

        A signal that the process was started to ignore stays ignored: Ctrl-C where a script put it in the background, HUP
        under ``nohup``.
        """
        with _handled(STOP_SIGNALS, self._note):
            yield self
