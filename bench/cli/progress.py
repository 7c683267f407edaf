"""Progress: the lines of ``run``, live on a terminal and plain in a pipe; and a bar for other long work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress import Progress, TextColumn

from bench.cli.live import CellLine, GridLine, drawn
from bench.cli.output import console
from bench.store.losses import last_losses
from bench.store.names import Names
from bench.store.run import Run, State, StateRecord
from bench.store.summary import Coords

if TYPE_CHECKING:
    from rich.console import Console

    from bench.run.local import Event

LOOK = 1.0  # seconds between looks at the files of running cells
SAY = 60.0  # seconds between lines in a pipe


class GridProgress:
    """Shows each running cell, and the iterations of all cells together.

    Args:
        store: the run store, whose state files tell how far each cell is.
        iterations: per cell id.
        places: coordinates of all cells of the grid, by id; those that vary name a cell.
        console: where to write; one that is quiet is left alone.
    """

    def __init__(
        self, store: Path, iterations: Mapping[str, int], places: Mapping[str, Coords], console: Console
    ) -> None:
        self.store, self.iterations, self.places, self.console = store, iterations, places, console
        self.names = Names(places.values())
        self.done = dict.fromkeys(iterations, 0)
        self.ended, self.lines = Counter[str](), list[CellLine]()
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.shows = console.is_terminal and not console.quiet
        self.began = time.monotonic()
        self.next_look, self.next_line = self.began, self.began + SAY

    def __enter__(self) -> GridProgress:
        if self.shows:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self.shows:
            self.live.stop()

    def show(self, event: Event) -> None:
        """Take in what has happened."""
        now = time.monotonic()
        if event.cell_id is not None and event.state is not None:
            self._end(event.cell_id, event.state)
        if event.cell_id is not None or now >= self.next_look:
            self.next_look = now + LOOK
            self.look(event.running)
        if now >= self.next_line and not self.shows:
            self.next_line = now + SAY
            for line in self.lines:
                self.console.print(line.said())
            self.console.print(self.whole.said(self.lines))

    def _end(self, cell_id: str, state: State) -> None:
        """Say how a cell has ended."""
        self.ended[state.value] += 1
        self.done[cell_id] = self.iterations[cell_id]
        record = Run(self.store / cell_id).last_state()
        score = f", mIoU {record['miou']:.1f}" if record.get("miou") is not None else ""
        place = f"[{sum(self.ended.values())}/{len(self.iterations)}]"
        self.console.print(f"{place} {self.names.name(self.places[cell_id])}: {state.value}{score}")

    def look(self, running: Sequence[str], notes: Mapping[str, str] | None = None) -> None:
        """Look how far running cells are, and show it; `notes` is what else is known of some, by id."""
        self.lines = [self._line(cell_id, (notes or {}).get(cell_id, "")) for cell_id in running]
        if self.shows:
            self.live.update(drawn(self.whole, self.lines, self.console.width), refresh=True)

    @property
    def whole(self) -> GridLine:
        """How far all cells together are."""
        seconds, steps = time.monotonic() - self.began, sum(self.iterations.values())
        return GridLine(self.ended, len(self.iterations), sum(self.done.values()), steps, seconds)

    def _line(self, cell_id: str, note: str) -> CellLine:
        run = Run(self.store / cell_id)
        record: StateRecord = run.last_state()
        losses, rate = last_losses(run), record.get("it_per_s")
        self.done[cell_id] = step = int(record.get("step") or 0)
        loss = sum(losses.values()) if losses else None
        name, brief = self.names.name(self.places[cell_id]), self.names.brief(self.places[cell_id])
        return CellLine(name, step, self.iterations[cell_id], rate, loss, record.get("miou"), note, brief)


@contextmanager
def progress_bar(title: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal while the context lasts; it gives a callback that takes what is done and the total."""
    err = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), *Progress.get_default_columns()[1:])
    with Progress(*columns, console=err, disable=hidden or not err.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
