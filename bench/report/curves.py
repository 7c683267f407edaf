"""The evaluations that runs made during training."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.patience import read_bytes
from bench.store.run import Run

Curve = dict[int, float]  # iterations -> mIoU in %


def _evaluations(path: Path) -> Iterator[tuple[int, float]]:
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        if b'"eval"' not in line:
            continue
        # A run killed while it wrote leaves half a line, which its resumed attempt writes again.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            yield int(entry["step"]), float(entry["eval"]["miou"])


def read_curves(store: Path, ids: Iterable[str]) -> dict[str, Curve]:
    """Return each run's evaluations by id, sorted by step.

    A step that a resumed run evaluated twice appears once, with the later value. Runs without any are left out.
    """
    found = {name: dict(_evaluations(Run(store / name).metrics)) for name in ids}
    return {name: dict(sorted(values.items())) for name, values in found.items() if values}
