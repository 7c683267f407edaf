"""A grid's summary: what reporting needs of a plan, kept in the store.

``status``, ``table`` and ``plot`` must not wait for torch, yet a cell's id needs every method's defaults. So planning keeps
its outcome in the store under a key made of the grid, the overrides and the code; where there is none yet, a child process
plans.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import registry
from bench.data.roots import DataRoots
from bench.data.splits import keep_split
from bench.errors import BenchError
from bench.files import REPOSITORY, read_json, write_json
from bench.machine import child_environment
from bench.plan.cells import Plan, resolve_grid
from bench.plan.freshness import grounds, still_hold
from bench.plan.request import Request, parse_sets
from bench.spec.deviations import deviations, facts
from bench.spec.grid import grid_path, read_grid
from bench.store.throughput import workload

# What makes a summary: a change of this code makes kept ones void.
_ROOMS = ("methods", "datasets", "bench/spec", "bench/data", "bench/plan")
_FILES = ("bench/__init__.py", "bench/config.py", "bench/store/throughput.py")


def _outline_path(request: Request) -> Path:
    code = [p for room in _ROOMS for p in sorted((REPOSITORY / room).rglob("*.py"))]
    code += [REPOSITORY / name for name in _FILES]
    digest = hashlib.sha256(json.dumps(request.sets).encode())
    for path in [grid_path(request.grid), *code, *(p for p in registry.plugin_paths() if p.is_file())]:
        digest.update(path.read_bytes() + b"\0")
    return request.store / ".cache" / "plans" / f"{request.name}-{digest.hexdigest()[:24]}.json"


def keep_outline(request: Request, outlined: dict[str, Any]) -> None:
    """Keep an outline for later verbs."""
    path = _outline_path(request)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, outlined, indent=None)


def kept_outline(request: Request) -> dict[str, Any] | None:
    """Return a grid's outline where the store has one for this grid and code, as it was when it was last planned."""
    try:
        known: dict[str, Any] | None = read_json(_outline_path(request))
    except ValueError:
        return None
    return known


def make_outline(plan: Plan, request: Request | None = None) -> dict[str, Any]:
    """Return what reporting needs of a plan, as JSON types; of a request, also how it deviates from the grid's recipe."""
    outlined: dict[str, Any] = {
        "name": plan.name,
        "title": plan.grid.title or plan.name,
        "select": plan.grid.select,
        "iterations": plan.cells[0].cell.schedule.iterations,
        "recipe": plan.grid.recipe,
        "axes": [[key, len(values)] for key, values in plan.grid.axes.items()],
        "cells": [
            {
                "id": p.cell.id,
                "slug": p.cell.slug,
                "order": order,
                "coords": p.coords,
                "iterations": p.cell.schedule.iterations,
            }
            for order, p in enumerate(plan.cells)
        ],
    }
    if plan.grid.published is not None:
        outlined["published"] = plan.grid.published.model_dump(mode="json")
        for entry, p in zip(outlined["cells"], plan.cells, strict=True):
            entry["facts"] = facts(p.cell)
    if request is not None and request.sets:
        points = [planned.values for planned in plan.cells]
        found, keys = deviations(read_grid(grid_path(request.grid)), parse_sets(request.sets), points)
        outlined["deviations"] = found
        for entry, deviating in zip(outlined["cells"], keys, strict=True):
            entry["deviations"] = deviating
    return outlined


def make_plan(request: Request) -> Plan:
    """Plan a grid, and keep its splits and its summary in the store.

    Raises:
        BenchError: anything wrong with the grid or the data; nothing is written then.
    """
    plan = resolve_grid(request)
    _keep(plan, request)
    return plan


def _keep(plan: Plan, request: Request) -> dict[str, Any]:
    for manifest in plan.manifests.values():
        keep_split(request.store, manifest)
    cells = [planned.cell for planned in plan.cells]
    more = {"work": [asdict(work) for work in workload(cells)], "grounds": grounds(cells)}
    summary = {**make_outline(plan, request), **more}
    keep_outline(request, summary)
    return summary


def planned_outline(request: Request) -> dict[str, Any]:
    """Return a grid's outline as planning now makes it: the kept one, where what it rests on is as it was.

    Raises:
        BenchError: see :func:`make_plan`.
    """
    known = kept_outline(request)
    if known is None or not still_hold(known["grounds"], request.store, DataRoots.parse(request.data)):
        return _keep(resolve_grid(request), request)
    return known


def outline(request: Request) -> dict[str, Any]:
    """Return a grid's outline, planning in a child process where the store has none for this grid and code.

    Raises:
        BenchError: what planning raised.
    """
    known = kept_outline(request)
    if known is None:
        command = [sys.executable, "-m", "bench.plan", json.dumps([request.grid, request.sets, request.data])]
        command.append(str(request.store))
        done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
        if done.returncode == 2:
            raise BenchError(done.stderr.strip())
        if done.returncode:
            raise RuntimeError(f"planning failed:\n{done.stderr}")
        known = kept_outline(request)
        if known is None:  # its name contains a hash of the code
            raise BenchError("the code changed while the grid was being planned; run the command again")
    return known
