"""What a tracker is, and what it is told of a run: the same while a run trains and afterwards, from its files."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_args

from bench.errors import BenchError
from bench.files import read_json, read_jsonl, short_name
from bench.spec.resources import TrackerName
from bench.store.run import Run
from bench.streams import say

# Modules with a function `begin`, which takes a record; each needs a package that is an extra of the same name.
TRACKERS = {name: f"bench.track.{name}" for name in get_args(TrackerName)}
_PLAIN = ("dataset", "network", "method", "protocol")  # coordinates whose values speak for themselves
WAITING = 10_000  # lines that may wait for a tracker that is slow


@dataclass(frozen=True)
class Record:
    """A run, as a tracker is told of it.

    Attributes:
        name: its coordinates in words.
        config: the whole cell, dotted key to value.
        folder: of this run's record, for trackers that write files: ``STORE/.track/TRACKER/GRID/RUN``.
        step: at which this attempt begins; what the record has after it is void.
        iterations: optimizer steps planned.
    """

    name: str
    config: Mapping[str, Any]
    folder: Path
    step: int = 0
    iterations: int = 0

    @property
    def grid(self) -> str:
        """The grid's name, as a folder has it."""
        return self.folder.parent.name

    @property
    def run(self) -> str:
        """The cell's id."""
        return self.folder.name


class Tracker(Protocol):
    """Where a record goes. Any of it may fail or take long: it is called on a thread of its own."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take values by name, such as ``losses/ce``, after a number of optimizer steps."""

    def close(self) -> None:
        """Bring everything to where it belongs."""


def flat(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings by their dotted keys."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def record_of(run: Run, tracker: str, step: int = 0) -> Record:
    """Return the record of a run, whose files lie in the store's folder ``.track``.

    Raises:
        BenchError: if cell.json is missing or damaged.
    """
    try:
        known = read_json(run.cell)
        spec, coords, grid = known["spec"], known["coords"], str(known["grid"])
        name = " · ".join(str(value) if key in _PLAIN else f"{key} {value}" for key, value in coords.items())
        iterations = int(spec["schedule"]["iterations"])
    except (OSError, ValueError, TypeError, KeyError):
        raise BenchError(f"{run.cell}: missing or damaged; run the grid again") from None
    folder = run.path.parent / ".track" / tracker / short_name(grid) / run.id
    return Record(name, dict(flat(spec)), folder, step, iterations)


def begin(tracker: str, record: Record) -> Tracker:
    """Begin a record, or go on with it.

    Raises:
        BenchError: if there is no such tracker, or its package isn't installed.
    """
    if tracker not in TRACKERS:
        raise BenchError(f"unknown tracker '{tracker}'; allowed: {', '.join(TRACKERS)}")
    try:
        made: Tracker = import_module(TRACKERS[tracker]).begin(record)
    except ImportError as error:
        raise BenchError(f"tracker '{tracker}': {error}; pip install '.[{tracker}]'") from None
    return made


def values_of(row: Mapping[str, Any], iterations: int) -> dict[str, float]:
    """Return what a line of metrics.jsonl or timing.jsonl says, by the names that trackers show."""
    found: dict[str, Any] = {f"losses/{name}": value for name, value in row.get("losses", {}).items()}
    found |= {f"logged/{name}": value for name, value in (row.get("logged") or {}).items()}
    found |= {"lr": row["lr"]} if "lr" in row else {}
    for split in ("eval", "holdout"):
        score = row.get(split) or {}
        found |= {f"{split}/{key}": score[key] for key in ("miou", "pixel_accuracy") if key in score}
    if "eval" in row and row["step"] == iterations:
        found["final/miou"] = row["eval"]["miou"]
    if row.get("seconds_per_step"):
        found["speed/it_per_s"] = 1 / row["seconds_per_step"]
    found |= {f"memory/{key}": row[key] for key in ("peak_rss_bytes", "peak_memory_bytes") if key in row}
    return {key: float(value) for key, value in found.items()}


@dataclass
class Background:
    """Tells a tracker of a run on a thread of its own; a tracker that fails or is too slow is dropped, and said so once.

    Attributes:
        name: of the tracker.
        record: of the run.
    """

    name: str
    record: Record
    _rows: queue.Queue[Mapping[str, Any] | None] = field(default_factory=lambda: queue.Queue(WAITING))
    _gone: bool = False

    def __post_init__(self) -> None:
        """Start the thread; it keeps no process from ending."""
        self._thread = threading.Thread(target=self._work, name=f"track-{self.name}", daemon=True)
        self._thread.start()

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a line of metrics; never waits, never fails."""
        if self._gone:
            return
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            self._drop("it takes lines more slowly than the run writes them")

    log_timing = log

    def close(self, seconds: float = 10.0) -> None:
        """Wait until all is told, but no longer than some seconds."""
        try:
            self._rows.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._drop(f"it hasn't taken all lines {seconds:g} s after the run's end")

    def _drop(self, why: str) -> None:
        if not self._gone:
            self._gone = True
            say(f"tracker {self.name}: {why}; it is told nothing more, `track` can tell it all later")

    def _work(self) -> None:
        try:
            tracker = begin(self.name, self.record)
            while (row := self._rows.get()) is not None and not self._gone:
                tracker.scalars(int(row["step"]), values_of(row, self.record.iterations))
            tracker.close()
        except BaseException as error:  # whatever a tracker does, the run goes on
            self._drop(f"{type(error).__name__}: {error}")


def replay(run: Run, name: str) -> int:
    """Tell a tracker a whole run from its files; return the number of lines told.

    Raises:
        BenchError: if there is no such tracker, its package is missing, or the run's cell.json.
    """
    record = record_of(run, name)
    tracker = begin(name, record)
    rows = [row for path in (run.metrics, run.timing) for row in read_jsonl(path)]
    for row in rows:
        tracker.scalars(int(row["step"]), values_of(row, record.iterations))
    tracker.close()
    return len(rows)
