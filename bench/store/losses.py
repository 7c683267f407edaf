"""The last losses that a run has written, from the end of a file that may be long."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench.errors import Damaged
from bench.patience import open_file
from bench.store.run import Run

_END = 1 << 14  # bytes; a line of an evaluation with its classes is a few thousand


def last_losses(run: Run) -> dict[str, float]:
    """Return the losses of the last line of metrics.jsonl that has any, by name; empty where there is none."""
    for line in reversed(_last_lines(run.metrics)):
        try:
            losses = json.loads(line)["losses"]
            return {str(name): float(value) for name, value in losses.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return {}


def _last_lines(path: Path) -> list[bytes]:
    try:
        with open_file(path) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _END, 0))
            return file.read(_END).splitlines()
    except (OSError, Damaged):
        return []
