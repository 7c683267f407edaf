"""Cells whose data isn't here: those of the store's runs. Reporting what ran needs no dataset."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.files import read_json
from bench.spec.cell import Cell
from bench.spec.epochs import as_in
from bench.yaml import Raw

UNKNOWN = "unknown"  # stands for the split of a cell that no run of the store knows


@dataclass(frozen=True)
class Candidate:
    """A run of the store that is a cell of the recipe: its cell, the hash of its data, and whether it is done."""

    cell: Cell
    data_sha256: str
    done: bool


@dataclass
class StoredRuns:
    """The runs of a store by slug; their files are read when they are asked for."""

    store: Path
    _names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """List the store."""
        for name in run_names(self.store):
            self._names.setdefault(name.rpartition("-")[0], []).append(name)

    def candidates(self, recipe: Raw) -> list[Candidate]:
        """Return the runs that have this recipe, whatever their data and split are.

        Args:
            recipe: the resolved parts and sections of a cell.
        """
        unknown = Cell(**recipe, split_sha256=UNKNOWN)
        found = (self._candidate(name, recipe) for name in self._names.get(unknown.slug, ()))
        return [candidate for candidate in found if candidate is not None]

    def _candidate(self, name: str, recipe: Raw) -> Candidate | None:
        try:
            known = read_json(self.store / name / "cell.json")
        except (ValueError, OSError):
            return None
        if not (isinstance(known, Mapping) and isinstance(spec := known.get("spec"), Mapping)):
            return None
        split, data = (str(spec.get(key, "")) for key in ("split_sha256", "data_sha256"))
        cell = Cell(**{**recipe, **as_in(recipe, spec)}, split_sha256=split, data_sha256=data)
        if cell.id != name:
            return None
        return Candidate(cell, str(known.get("data_sha256") or ""), (self.store / name / "result.json").exists())


def run_names(store: Path) -> list[str]:
    """Return the names of a store's runs, sorted."""
    try:
        with os.scandir(store) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError:
        return []


def names_hash(store: Path) -> str:
    """Return a hash of the names of a store's runs: what a plan without data depends on."""
    return hashlib.sha256("\0".join(run_names(store)).encode()).hexdigest()


def choose(found: Iterable[list[Candidate]]) -> tuple[list[Candidate | None], list[str]]:
    """Return for each cell the run that stands for it, and the ids of runs that stand for none.

    Runs on different data never stand side by side: those of the data with the most finished runs are taken. Data that the
    code pins are the same everywhere.

    Args:
        found: the candidates of each cell, all of one dataset.
    """
    every = list(found)
    there = [candidate for some in every for candidate in some]
    runs, done = (Counter(c.cell.data_sha256 for c in there if c.done or not only) for only in (False, True))
    data = max(runs, key=lambda sha256: (done[sha256], runs[sha256], sha256), default="")
    chosen: list[Candidate | None] = []
    for some in every:
        fitting = sorted((c for c in some if c.cell.data_sha256 == data), key=lambda c: (not c.done, c.cell.id))
        chosen.append(fitting[0] if fitting else None)
    taken = {c.cell.id for c in chosen if c is not None}
    return chosen, sorted(c.cell.id for some in every for c in some if c.cell.id not in taken)
