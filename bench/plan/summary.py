"""A grid's summary: made of its plan, kept in the store, and found there again.

``status``, ``table`` and ``plot`` must not wait for torch, yet a cell's id needs every method's defaults. So planning keeps
its outcome in the store under a key made of the grid, the overrides and the code; where there is none yet, a child process
plans.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench import registry
from bench.config import Config
from bench.data.roots import DataRoots
from bench.data.splits import keep_split
from bench.errors import BenchError, Damaged
from bench.files import REPOSITORY, short_name, write_json
from bench.machine import child_environment
from bench.patience import LARGE, read_bytes
from bench.plan.cells import Plan, PlannedCell, resolve_grid
from bench.plan.freshness import freshness, is_fresh
from bench.plan.preflight import needs_of
from bench.plan.request import Request
from bench.plugin_code import code_hash
from bench.spec.cell import Cell, Part
from bench.spec.deviations import deviations
from bench.spec.facts import facts
from bench.spec.grid import grid_path
from bench.store.contents import keep_content
from bench.store.schema import note_schema
from bench.store.summary import CellSummary, Summary
from bench.store.throughput import workload
from bench.store.trials import outcome

_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
# What makes a summary: a change of this code makes kept ones void.
_ROOMS = ("methods", "datasets", "bench/spec", "bench/data", "bench/plan")
_FILES = ("bench/__init__.py", "bench/config.py", "bench/store/summary.py", "bench/store/throughput.py")


def _path(request: Request) -> Path:
    code = [p for room in _ROOMS for p in sorted((REPOSITORY / room).rglob("*.py"))]
    code += [REPOSITORY / name for name in _FILES]
    places = [str(folder) for _, folder in DataRoots.parse(request.data).given]
    asked = [request.sets, request.data, places, os.environ.get("BENCH_DATA", ""), os.environ.get("BENCH_WEIGHTS", "")]
    digest = hashlib.sha256(json.dumps(asked).encode())
    for path in [grid_path(request.grid), *code]:
        digest.update(read_bytes(path) + b"\0")
    for path in registry.plugin_paths():
        digest.update(code_hash(path.resolve()).encode() if path.is_file() else b"-")
    return request.store / ".cache" / "plans" / f"{short_name(request.name)}-{digest.hexdigest()[:24]}.json"


def keep(request: Request, summary: Summary) -> None:
    """Keep a summary for later verbs."""
    path = _path(request)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, summary.model_dump(mode="json", exclude_unset=True), indent=None)


def read_kept(request: Request) -> Summary | None:
    """Return a grid's summary where the store has one for this grid and code, as it was when it was last planned."""
    try:
        return Summary.model_validate_json(read_bytes(_path(request), LARGE))
    except (FileNotFoundError, Damaged, ValidationError):
        return None


def summarise(plan: Plan, store: Path) -> Summary:
    """Return what reporting needs of a plan: also how it deviates from the grid's recipe, where ``--set`` was given.

    Args:
        plan: a grid's.
        store: whose runs stand for cells on absent data.
    """
    grid, cells = plan.grid, [planned.cell for planned in plan.cells]
    trials = [planned.cell for planned in plan.trials]
    more: dict[str, object] = {}
    of_cells: list[dict[str, object]] = [{} for _ in cells]
    if grid.published is not None:
        more["published"] = grid.published
        of_cells = [{"facts": facts(cell)} for cell in cells]
    if plan.sets:
        points = [planned.values for planned in plan.cells]
        more["deviations"], keys = deviations(plan.written, plan.sets, points)
        of_cells = [{**known, "deviations": deviating} for known, deviating in zip(of_cells, keys, strict=True)]
    if plan.warnings:
        more["warnings"] = plan.warnings
    if grid.resources.processes > 1:
        more["processes"] = grid.resources.processes
    if plan.left_out:
        more["left_out"] = plan.left_out
    identities, needed = Identities(), dict[tuple[str, str], int]()
    if plan.tuned is not None:
        more["tuning"] = plan.tuned.summary([cell.id for cell in cells])
        more["trials"] = [_summary(planned, order, identities, needed, {}) for order, planned in enumerate(plan.trials)]
    return Summary.model_validate(
        {
            "name": plan.name,
            "title": grid.title or plan.name,
            "select": grid.select,
            "iterations": cells[0].schedule.iterations,
            "recipe": grid.recipe,
            "axes": [(key, len(values)) for key, values in grid.axes.items()],
            "cells": [
                _summary(planned, order, identities, needed, known)
                for order, (planned, known) in enumerate(zip(plan.cells, of_cells, strict=True))
            ],
            "work": workload([*trials, *cells]),
            "freshness": freshness(plan, store),
            "identities": identities.pieces,
            **({"needs": list(needed)} if needed else {}),
            **more,
        }
    )


def _summary(
    planned: PlannedCell,
    order: int,
    identities: Identities,
    needed: dict[tuple[str, str], int],
    known: Mapping[str, object],
) -> CellSummary:
    needs = [needed.setdefault(need, len(needed)) for need in needs_of(planned.cell)]
    return CellSummary.model_validate(
        {
            "id": planned.cell.id,
            "slug": planned.cell.slug,
            "order": order,
            "coords": planned.coords,
            "iterations": planned.cell.schedule.iterations,
            "data_sha256": planned.data_sha256,
            "pieces": identities.places(planned.cell),
            **({"needs": needs} if needs else {}),
            **known,
        }
    )


class Identities:
    """The pieces of which cells' identities are made, each once."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, Any]] = []
        self._known: dict[Any, int] = {}

    def places(self, cell: Cell) -> list[int]:
        """Return where the pieces of a cell's identity stand."""
        return [self._place(key, piece) for key, piece in [*cell.pieces(), *cell.rest().items()]]

    def _place(self, key: str, piece: Any) -> int:
        place = self._known.get((key, piece))
        if place is None:
            place = self._known[key, piece] = len(self.pieces)
            self.pieces.append((key, piece.identity() if isinstance(piece, (Part, Config)) else piece))
        return place


def plan_and_keep(request: Request, absent: bool = False) -> tuple[Plan, Summary]:
    """Plan a grid, and keep its splits, what its data contain and its summary in the store.

    Args:
        request: what was asked for.
        absent: for a view: data needn't be here (see :func:`resolve_grid`), and the store may be one that only its owner
            can write.

    Raises:
        BenchError: anything wrong with the grid or the data; nothing is written then.
        OSError: if the store can't be written.
    """
    plan = resolve_grid(request, absent)
    summary = summarise(plan, request.store)
    if not absent:
        summary = summary.model_copy(update={"checked": True})
    try:
        note_schema(request.store)
        for manifest in plan.manifests.values():
            keep_split(request.store, manifest)
        for content in plan.contents.values():
            keep_content(request.store, content)
        keep(request, summary)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        if not absent:
            why = f"the store can't be written to; give another one with --store DIR: {error.strerror}"
            raise BenchError(f"{request.store}: {why}") from None
    return plan, summary


def make_plan(request: Request) -> Plan:
    """Do what :func:`plan_and_keep` does, and return the plan alone."""
    return plan_and_keep(request)[0]


def planned_summary(request: Request) -> Summary:
    """Return a grid's summary as planning now makes it: the kept one, where what it depends on is as it was.

    Raises:
        BenchError: see :func:`plan_and_keep`.
    """
    known = read_kept(request)
    if known is None or not (known.checked or known.absent) or not _holds(known, request):
        return plan_and_keep(request)[1]
    return known


def _holds(known: Summary, request: Request) -> bool:
    """Tell whether what a kept summary depends on is as it was: data, files, splits, and the trials of a tuned grid."""
    tuning, store = known.tuning, request.store
    if tuning is not None:
        chosen = [outcome(store, tuning, group).chosen for group in tuning.groups]
        if chosen != known.freshness.chosen:
            return False
    return is_fresh(known.freshness, store, DataRoots.parse(request.data))


def find_summary(request: Request) -> Summary:
    """Return a grid's summary for a view of its runs, planning in a child process where the store has none that holds.

    Data that isn't here is no error: its cells are the store's runs, see :mod:`bench.plan.absent`.

    Raises:
        BenchError: what planning raised.
    """
    known = read_kept(request)
    if known is None or not _holds(known, request):
        command = [sys.executable, "-m", "bench.plan", json.dumps([request.grid, request.sets, request.data])]
        command.append(str(request.store))
        env = {**child_environment(), "PYTHONIOENCODING": "utf-8:backslashreplace"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=env)
        if done.returncode == 2:
            raise BenchError(done.stderr.strip())
        if done.returncode:
            raise RuntimeError(f"planning failed:\n{done.stderr}")
        known = Summary.model_validate_json(done.stdout) if done.stdout else read_kept(request)
        if known is None:  # its name contains a hash of the code
            raise BenchError("the code changed while the grid was being planned; run the command again")
    return known
