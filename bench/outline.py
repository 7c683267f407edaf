"""A grid's outline: what reporting needs of a plan, kept in the store.

``status``, ``table`` and ``plot`` must not wait for torch, yet a cell's id needs every method's defaults. So planning keeps
its outcome in the store under a key made of the grid, the overrides and the code; where there is none yet, a child process
plans.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.data import REPOSITORY
from bench.errors import BenchError
from bench.spec.grid import grid_path
from bench.store.files import read_json, write_json

_MODULES = ("__init__", "config", "grounds", "pace", "plan", "splits")  # with bench/spec, what makes an outline


@dataclass(frozen=True)
class Request:
    """What the user asked for: a grid, ``--set`` values, data folders and the store."""

    grid: str
    sets: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    store: Path = Path("results/runs")

    @property
    def name(self) -> str:
        """The grid's name: its file's stem."""
        return grid_path(self.grid).stem


def _outline_path(request: Request) -> Path:
    rooms = [REPOSITORY / "methods", REPOSITORY / "datasets", REPOSITORY / "bench" / "spec"]
    code = [p for room in rooms for p in sorted(room.rglob("*.py"))]
    code += [REPOSITORY / "bench" / f"{name}.py" for name in _MODULES]
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


def child_environment() -> dict[str, str]:
    """Return an environment in which this checkout's packages win over installed ones of the same name."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
