"""What of a grid's runs can go to free disk space: checkpoints and weights alone, never a result or a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.store.activity import is_open
from bench.store.kept import record_done
from bench.store.liveness import current_state
from bench.store.results import WEIGHTS
from bench.store.run import Run, State
from bench.store.status import GridStatus

What = Literal["checkpoints", "unfinished", "last", "best", "selected", "stale"]
_ENDED = (State.DONE.value, State.DIVERGED.value)  # nothing goes on from their checkpoints


@dataclass(frozen=True)
class Removal:
    """A file that can go.

    Attributes:
        run: whose it is.
        path: the file.
        what: what was asked for that names it.
        size: bytes.
    """

    run: Run
    path: Path
    what: What
    size: int


def removable(store: Path, state: GridStatus, asked: Sequence[What]) -> list[Removal]:
    """Return the files of a grid's runs that can go; none of a run that works, or waits in a queue.

    Args:
        store: the run store.
        state: of the grid.
        asked: `checkpoints` of runs that are done or have diverged; `unfinished`, checkpoints of the others, which
            begin anew then; `last`, `best` and `selected` weights of runs that are done; `stale`, both of runs that the grid
            no longer has.
    """
    found = list[Removal]()
    for row in state["cells"]:
        if not is_open(row):
            run = Run(store / row["id"])
            found += _files(run, _wanted(run, row["state"]), asked)
    for stale in state["stale"]:
        run = Run(store / stale["id"])
        if current_state(run)["state"] not in (State.RUNNING.value, State.QUEUED.value):
            paths: list[tuple[What, Path]] = [("stale", path) for path in (run.checkpoint, *map(run.weights, WEIGHTS))]
            found += _files(run, paths, asked)
    return found


def _wanted(run: Run, state: str) -> Iterator[tuple[What, Path]]:
    yield ("checkpoints" if state in _ENDED else "unfinished"), run.checkpoint
    if state == State.DONE.value:
        yield "last", run.weights("last")
        yield "best", run.weights("best")
        yield "selected", run.weights("selected")


def _files(run: Run, paths: Iterable[tuple[What, Path]], asked: Sequence[What]) -> list[Removal]:
    there = [(what, path) for what, path in paths if what in asked and path.is_file() and not path.is_symlink()]
    return [Removal(run, path, what, path.stat().st_size) for what, path in there]


def remove(removals: Sequence[Removal]) -> list[Removal]:
    """Remove files, and note in the state of a finished run that it is without those weights; return what was removed.

    Files of a run that a process has claimed in the meantime, or whose state has changed, stay.
    """
    gone, by_run = list[Removal](), dict[Path, list[Removal]]()
    for one in removals:
        by_run.setdefault(one.run.path, []).append(one)
    for files in by_run.values():
        run = files[0].run
        with run.claim() as mine:
            if mine:
                gone += _removed(run, files)
    return gone


def _removed(run: Run, files: Sequence[Removal]) -> list[Removal]:
    done = run.is_done()
    names = {run.weights(which): which for which in WEIGHTS}
    weights = {names[one.path]: "prune" for one in files if one.path in names}
    if weights and not done:  # a checkpoint counts on them
        files = [one for one in files if one.path == run.checkpoint or one.what == "stale"]
        weights = {}
    if weights:
        record_done(run, weights, time=run.last_state().get("time"))
    for one in files:
        one.path.unlink(missing_ok=True)
    return list(files)
