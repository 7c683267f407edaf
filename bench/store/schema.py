"""The number of a store's layout, ``STORE/.store.json``: which versions of the harness can read it.

A store of a lower number, or of none, is read as it is, and gets the present number when something is planned in it. One of
a higher number is refused: what this version would show of it might be wrong. The number is raised when files get another
meaning, not when one is added; ``tests/data/store-N`` keeps a store of each, which every later version must read.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from bench.errors import BenchError, Damaged
from bench.files import read_json, write_json

SCHEMA = 1


def schema_path(store: Path) -> Path:
    """Return the file of the number."""
    return store / ".store.json"


def schema_of(store: Path) -> int:
    """Return a store's number; 0 where it has none, or it can't be read."""
    with contextlib.suppress(Damaged, OSError):
        known = read_json(schema_path(store), dict) or {}
        if type(found := known.get("schema")) is int:
            return found
    return 0


def check_schema(store: Path) -> None:
    """Refuse a store that a newer version has written.

    Raises:
        BenchError: saying what to do.
    """
    if (found := schema_of(store)) > SCHEMA:
        raise BenchError(
            f"{store}: a store of schema {found}, written by a newer version of the harness; this one reads up to {SCHEMA}: "
            "update this checkout (git pull), or give another store with --store"
        )


def note_schema(store: Path) -> None:
    """Write the present number into a store that has a lower one or none.

    Raises:
        BenchError: see :func:`check_schema`.
        OSError: if it can't be written.
    """
    check_schema(store)
    if schema_of(store) < SCHEMA:
        store.mkdir(parents=True, exist_ok=True)
        write_json(schema_path(store), {"schema": SCHEMA})
