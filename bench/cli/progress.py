"""Progress bars: that of ``run``, on a terminal a bar with an ETA, in a pipe one line per cell; and a plain one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.cli.output import console
from bench.store.run import Run

if TYPE_CHECKING:
    from rich.console import Console

    from bench.run.local import Event


class GridProgress:
    """Shows the iterations of all cells together, and what is running.

    Args:
        store: the run store, whose state files tell how far each cell is.
        iterations: per cell id.
        console: where to write.
    """

    def __init__(self, store: Path, iterations: dict[str, int], console: Console) -> None:
        self.store, self.iterations, self.console = store, iterations, console
        self.done: dict[str, int] = {}
        self.ended = 0
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("iterations"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            speed_estimate_period=120,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=sum(iterations.values()))
        self.next_look = 0.0

    def __enter__(self) -> GridProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()

    def show(self, event: Event) -> None:
        """Take in what has happened."""
        if event.cell_id is not None and event.state is not None:
            self.ended += 1
            self.done[event.cell_id] = self.iterations[event.cell_id]
            state = Run(self.store / event.cell_id).read_state()
            score = f", mIoU {state['miou']:.1f}" if state.get("miou") is not None else ""
            self.console.print(f"[{self.ended}/{len(self.iterations)}] {event.cell_id}: {event.state.value}{score}")
        elif event.cell_id is None and time.monotonic() >= self.next_look:
            self.next_look = time.monotonic() + 1
            for cell_id in event.running:
                self.done[cell_id] = int(Run(self.store / cell_id).read_state().get("step") or 0)
        names = ", ".join(cell_id.rpartition("-")[0] for cell_id in event.running)
        self.bar.update(self.task, completed=sum(self.done.values()), description=names)


@contextmanager
def progress_bar(title: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal while the context lasts; it gives a callback that takes what is done and the total."""
    err = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), *Progress.get_default_columns()[1:])
    with Progress(*columns, console=err, disable=hidden or not err.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
