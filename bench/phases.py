"""The phases of a step, named where they run, for whoever measures them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class PhaseWatcher(Protocol):
    """Is notified of the part of a step that runs: a memory meter, a profiler. Phases nest; the innermost one runs."""

    def enter(self, name: str) -> None:
        """A phase begins."""

    def leave(self) -> None:
        """The innermost phase ends."""


phase_watchers: list[PhaseWatcher] = []  # empty but for the few steps that are measured


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark a part of a step: `teacher`, `augment`, `student`, or ``loss NAME``. The loop marks all that is its own."""
    watchers = tuple(phase_watchers)
    for watcher in watchers:
        watcher.enter(name)
    try:
        yield
    finally:
        for watcher in reversed(watchers):
            watcher.leave()


def in_phase(name: str, items: Iterable[T]) -> Iterator[T]:
    """Yield the items, making each of them within the phase `name`."""
    iterator = iter(items)
    while True:
        with phase(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
