"""Damaged files are never removed and never overwritten: they get another name beside the old one."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from bench import streams


def set_aside(path: Path, why: str) -> str:
    """Rename what lies at a path, be it a folder, to ``NAME.damaged-N``, the first number that is free; say so in one line.

    Call it only as the owner of the path's directory.

    Args:
        path: the file.
        why: what is wrong with it.

    Returns:
        What was done, as `status` shows it: ``state.json: empty; kept as state.json.damaged-1``.
    """
    for number in itertools.count(1):
        kept = path.with_name(f"{path.name}.damaged-{number}")
        if not os.path.lexists(kept):
            os.replace(path, kept)  # noqa: PTH105 (a folder in its place is renamed as well)
            streams.say(f"{path}: {why}; kept as {kept.name}")
            return f"{path.name}: {why}; kept as {kept.name}"
    raise AssertionError("unreachable")
