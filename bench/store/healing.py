"""Damaged files of a run: what each means, and setting aside those without which the run can go on.

Files that can be derived from others or begun anew are set aside, and the run goes on from its checkpoint. Files that can't
be, the result and the weights of a finished run, make it `damaged` (:mod:`bench.store.results`). A checkpoint and the
metrics that it counts on are looked at by whoever goes on from it (``bench.run.recorder``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.aside import set_aside
from bench.errors import Damaged
from bench.files import append_jsonl, parse_json, read_json, sound_rows
from bench.patience import LARGE, open_file, read_bytes
from bench.store.confusion import matrices, read_confusion
from bench.store.evaluations import read as read_evaluation
from bench.store.measured import read_cost, read_memory
from bench.store.results import WEIGHTS, check_weights, read_result
from bench.store.rounding import read_rounding
from bench.store.run import Run, State, StateRecord
from bench.store.ticket import read_ticket, sound_ticket


@dataclass(frozen=True)
class Finding:
    """A damaged file.

    Attributes:
        path: the file.
        why: what is wrong with it, in a few words.
        lost: it can't be made anew from other files: the run is `damaged`, and repairing it means to train it again.
    """

    path: Path
    why: str
    lost: bool = False


Look = Callable[[], object]  # raises Damaged


def _is_file(path: Path) -> None:
    """Raise ``Damaged`` where something else than a file lies at a path."""
    open_file(path).close()


def _is_folder(path: Path) -> None:
    if not path.is_dir():
        raise Damaged(path, "no folder")


def _rows(path: Path) -> None:
    """Raise ``Damaged`` where a line that was ended can't be read; half a last line is cut off by the next one."""
    for line in read_bytes(path, LARGE).split(b"\n")[:-1]:
        parse_json(line, path, dict, nan=True)


def _cell(run: Run) -> None:
    """Raise ``Damaged`` where cell.json holds no cell; one that this version can't run is no damage."""
    found = read_json(run.cell, dict)
    if found is not None and not all(isinstance(found.get(key), dict) for key in ("spec", "identity", "coords")):
        raise Damaged(run.cell, "it holds no cell")


def _begun_anew(run: Run) -> Iterator[tuple[Path, Look]]:
    """Yield each file that can be derived or begun anew, with what raises ``Damaged`` where it has to be."""
    yield run.state, run.read_state
    yield run.ticket, lambda: read_ticket(run)
    yield run.cell, lambda: _cell(run)
    yield run.rounding, lambda: read_rounding(run)
    yield run.memory, lambda: read_memory(run)
    yield run.cost, lambda: read_cost(run)
    for path in (run.attempts, run.timing):
        yield path, partial(_rows, path)
    for path in (run.metrics, run.log, run.lock):
        yield path, partial(_is_file, path)
    yield run.evaluations, lambda: _is_folder(run.evaluations)


def bookkeeping(run: Run) -> Iterator[Finding]:
    """Yield the damaged files of a run that can be derived or begun anew."""
    for path, look in _begun_anew(run):
        if os.path.lexists(path):
            try:
                look()
            except Damaged as error:
                yield Finding(path, error.why)
            except FileNotFoundError:  # it was there a moment ago
                continue


def heal(run: Run, ticket: bool = True) -> list[str]:
    """Set aside the damaged files that a run can go on without; what can be read of a damaged list of lines is kept.

    Only the process that holds the run's claim may call it.

    Args:
        run: the run.
        ticket: whether the ticket is looked at, too.

    Returns:
        A line for each file.
    """
    said = []
    for found in list(bookkeeping(run)):
        if found.path != run.ticket or ticket:
            rows = sound_rows(found.path) if found.path in (run.attempts, run.timing) else []
            said.append(set_aside(found.path, found.why))
            for row in rows:
                append_jsonl(found.path, row)
    return said


def mend_done(run: Run) -> list[str]:
    """Heal a run that is done, and record that it is; what else its state knew is gone, unless other files have it.

    Returns:
        What :func:`heal` does; nothing where another process holds the run.
    """
    with run.claim() as mine:
        said = heal(run) if mine else []
        if said:
            _record(run, said)
    return said


def _record(run: Run, said: list[str]) -> None:
    """Write down what was set aside, in the state that the run is in after that."""
    known = run.read_state()
    ticket = sound_ticket(run)
    kept: dict[str, Any] = {"time": known.get("time"), "set_aside": [*known.get("set_aside", []), *said]}
    kept |= {} if ticket is None else {"submission": ticket.submission}  # the record is newer than the ticket
    if run.is_done():
        run.write_state(State.DONE, **_facts(run, known), **kept)
    elif known["state"] == State.DONE.value:
        run.write_state(State.PREEMPTED, **kept, step=0, miou=None, reason="its result was damaged: it is made anew")
    elif known["state"] == State.PENDING.value:
        run.write_state(State.PREEMPTED, **kept, reason="its state was damaged: it goes on from its checkpoint")
    else:
        run.write_state(State(known["state"]), **kept, reason=known.get("reason"))


def _facts(run: Run, known: StateRecord) -> dict[str, Any]:
    """Return what other files know of a finished run whose state was damaged."""
    if known["state"] != State.PENDING.value:
        return {}
    last, noted = (read_result(run) or {}).get("last", {}), read_rounding(run)
    tries = len(sound_rows(run.attempts))
    facts = {"step": last.get("step"), "miou": last.get("miou"), "attempt": tries or None}
    facts |= {"hardware": noted.get("models"), "codes": noted.get("codes")}
    return {key: value for key, value in facts.items() if value is not None}


# -- what `doctor` looks at ----------------------------------------------------------------------------------------------


def damage(run: Run) -> Iterator[Finding]:
    """Yield every damaged file of a run, after reading all of each: results and weights of a run that is done, too."""
    yield from bookkeeping(run)
    done = run.is_done()
    weights = [run.weights(which) for which in WEIGHTS]
    looks: list[tuple[Path, Look, bool]] = [
        (run.result, lambda: read_result(run), True),
        *((path, partial(check_weights, path, thorough=True), done) for path in weights),
        (run.checkpoint, partial(check_weights, run.checkpoint, thorough=True), False),
        *((path, partial(read_confusion, run, which), False) for which, path in matrices(run).items()),
        *((path, partial(read_evaluation, path), False) for path in _files(run.evaluations)),
    ]
    for path, look, lost in looks:
        if os.path.lexists(path):
            try:
                look()
            except Damaged as error:
                yield Finding(path, error.why, lost)


def gaps(run: Run) -> Iterator[Finding]:
    """Yield what a run that is done lacks though its result is sound; nothing of that can be set aside."""
    try:
        ended = (read_result(run) or {}).get("last", {}).get("step")
    except Damaged:
        return
    if not isinstance(ended, int):
        return
    if not os.path.lexists(run.cell):
        yield Finding(run.cell, "missing; `run` of its grid makes it anew")
    evaluated = [row["step"] for row in sound_rows(run.metrics) if "eval" in row and isinstance(row.get("step"), int)]
    if (last := max(evaluated, default=0)) < ended:
        yield Finding(
            run.metrics, f"damaged or missing: its curve ends at step {last:,} of {ended:,}; the result is sound"
        )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def repair(run: Run) -> list[str]:
    """Set aside every damaged file of a run, so that it is done again, or is run again by the next ``run``.

    Returns:
        A line for each file; nothing where another process holds the run.
    """
    with run.claim() as mine:
        if not mine:
            return []
        said = heal(run)
        said += [set_aside(found.path, found.why) for found in list(damage(run))]
        if said:
            _record(run, said)
    return said
