"""What a job says of its cells: which one it runs, in Slurm's comment; how far that is, in the job's own log."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from bench.files import read_json
from bench.store.liveness import current_state
from bench.store.run import Run, State
from slurm.stopping import job_id

EVERY = 60.0  # seconds between two lines on a cell
ANSWER_WITHIN = 20.0  # seconds; a job doesn't wait longer for its comment


def comment(cells: Sequence[str]) -> None:
    """Write the ids of the cells that this job runs into its comment (``squeue -o '%i %T %k'``), where Slurm lets it."""
    command = ["scontrol", "update", f"JobId={job_id()}", f"Comment={', '.join(cells)}"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no scontrol in a container, or a busy controller
        subprocess.run(command, capture_output=True, timeout=ANSWER_WITHIN, check=False)


@contextmanager
def told(runs: Sequence[Run]) -> Iterator[None]:
    """Write a line on each cell that moved to where this process prints now, every minute and at the end.

    What the cells themselves print goes elsewhere in the meantime (``slurm.job``), so the descriptor is kept.
    """
    stop = threading.Event()
    with os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as log:
        known = dict[str, str]()
        thread = threading.Thread(target=_tell_until, args=(stop, runs, log, known), name="telling", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(ANSWER_WITHIN)
            if not thread.is_alive():
                tell(runs, log, known)


def _tell_until(stop: threading.Event, runs: Sequence[Run], log: TextIO, known: dict[str, str]) -> None:
    while not stop.wait(EVERY):
        tell(runs, log, known)


def tell(runs: Sequence[Run], log: TextIO, known: dict[str, str]) -> None:
    """Write a line on each run that moved since the last one, which `known` keeps by the run's id."""
    with contextlib.suppress(OSError, ValueError):  # the store may be away
        for run in runs:
            line = said(run)
            if known.get(run.id) != line:
                known[run.id] = line
                log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {run.id}: {line}\n")
        log.flush()


def said(run: Run) -> str:
    """Return in a line how far a run is: ``running, step 120 of 400, 3.1 it/s, left: 90 s, mIoU 41.2``."""
    state = current_state(run)
    step, rate, miou = state.get("step"), state.get("it_per_s"), state.get("miou")
    whole = _iterations(run)
    words = [state["state"]]
    words += [f"step {step:,} of {whole:,}" if whole else f"step {step:,}"] if step is not None else []
    if state["state"] == State.RUNNING.value and rate:
        words += [f"{rate:.1f} it/s", *([f"left: {(whole - (step or 0)) / rate:.0f} s"] if whole else [])]
    words += [f"mIoU {miou:.1f}"] if miou is not None else []
    words += [str(state["reason"])] if state.get("reason") else []
    return ", ".join(words)


def _iterations(run: Run) -> int:
    known: Any = read_json(run.cell) or {}
    try:
        return int(known["identity"]["schedule"]["iterations"])
    except (KeyError, TypeError, ValueError):
        return 0
