"""What a run measured of itself: memory.json by phase, and cost.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from bench.errors import Damaged
from bench.files import read_json
from bench.store.run import Run

LARGEST = 1 << 62  # bytes, or seconds: nothing that is measured is more


def read_memory(run: Run) -> dict[str, Any]:
    """Return the memory of a run's steps and evaluations (``bench.train.meters.MemoryReport``); empty where there is none.

    Raises:
        Damaged: if the file says anything else.
    """
    found = _read(run.memory)
    for key in ("phases", "reserved"):
        phases = found.get(key, {})
        if not isinstance(phases, dict) or not all(map(_is_number, phases.values())):
            raise Damaged(run.memory, f"'{key}' holds no bytes by phase")
    if found and "phases" not in found:
        raise Damaged(run.memory, "it has no phases")
    _check(run.memory, {key: value for key, value in found.items() if key not in ("phases", "reserved")})
    return found


def sound_memory(run: Run) -> dict[str, Any]:
    """Return what :func:`read_memory` does; an empty one where the file is damaged: it is measured anew."""
    try:
        return read_memory(run)
    except Damaged:
        return {}


def read_cost(run: Run) -> dict[str, Any]:
    """Return what a run took, numbers and texts by name; empty where that isn't known.

    Raises:
        Damaged: if the file says anything else.
    """
    found = _read(run.cost)
    _check(run.cost, found)
    return found


def _read(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", read_json(path, dict) or {})


def _check(path: Path, facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if not (isinstance(value, str) or _is_number(value)):
            raise Damaged(path, f"'{key}' is neither a number nor a text")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST
