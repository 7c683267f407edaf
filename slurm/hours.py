"""What Slurm's accounting says of a grid's jobs: what they had allocated, how they ended, and how well they used it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.store.status import GridStatus
from slurm import commands, records
from slurm.commands import SlurmError

COLUMNS = "JobID,JobName,State,ElapsedRaw,AllocTRES,TotalCPU,MaxRSS,ConsumedEnergyRaw"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass
class Allocated:
    """What jobs had allocated, each of their starts counted.

    Attributes:
        starts: of jobs.
        node_seconds, core_seconds, gpu_seconds: allocated.
        used_core_seconds: that processes computed.
        by_end: node-seconds by the state in which they ended.
        memory, used_memory: bytes allocated, and the peak of each job, of those of which accounting has both.
        joules: energy; 0 where the cluster doesn't measure it.
    """

    starts: int = 0
    node_seconds: float = 0.0
    core_seconds: float = 0.0
    gpu_seconds: float = 0.0
    used_core_seconds: float = 0.0
    by_end: dict[str, float] = field(default_factory=dict)
    memory: float = 0.0
    used_memory: float = 0.0
    joules: float = 0.0

    def as_hours(self) -> dict[str, Any]:
        """Return it for programs, in hours; shares are None where nothing is known."""
        return {
            "starts": self.starts,
            "node_hours": self.node_seconds / 3600,
            "core_hours": self.core_seconds / 3600,
            "gpu_hours": self.gpu_seconds / 3600,
            "node_hours_by_end": {end: seconds / 3600 for end, seconds in sorted(self.by_end.items())},
            "cpu_efficiency": self.used_core_seconds / self.core_seconds if self.core_seconds else None,
            "memory_efficiency": self.used_memory / self.memory if self.memory else None,
            "kwh": self.joules / 3.6e6 or None,
        }


def hours(store: Path, status: GridStatus) -> dict[str, Any] | None:
    """Return what the jobs of a grid had allocated; None where it has none, or there is no accounting.

    Args:
        store: the run store.
        status: of the grid.
    """
    made = [one for one in records.submissions(store) if one.grid == status["grid"]]
    names = {array.name for one in made for array in one.arrays}
    ids = {array.job_id for one in made for array in one.arrays if isinstance(array.job_id, str)}
    if not ids:
        return None
    try:
        said = commands.ask("sacct", "-n", "-P", "-D", "-j", ",".join(sorted(ids)), f"--format={COLUMNS}")
    except SlurmError:
        return None
    return summed(said.splitlines(), names).as_hours()


def summed(lines: Iterable[str], names: set[str]) -> Allocated:
    """Add up lines of sacct with :data:`COLUMNS`; jobs of other names, whose ids Slurm has used again, are left out.

    The line of a job is followed by those of its steps, which have the memory that was used.
    """
    found, ours, peak, asked = Allocated(), False, 0.0, 0.0
    for line in lines:
        job, name, state, elapsed, tres, used, memory, energy = line.split("|")
        if "." in job:
            peak = max(peak, _bytes(memory)) if ours else 0.0
        else:
            _add_memory(found, peak, asked)
            given, peak = _tres(tres), 0.0
            ours, asked = name in names and bool(given), given.get("mem", 0.0)
            if ours:
                _add_job(found, state.split()[0], float(elapsed or 0), given, used)
        found.joules += _joules(energy) if ours and "." not in job else 0.0
    _add_memory(found, peak, asked)
    return found


def _add_job(found: Allocated, state: str, seconds: float, given: Mapping[str, float], used: str) -> None:
    nodes = given.get("node", 1.0)
    found.starts += 1
    found.node_seconds += seconds * nodes
    found.core_seconds += seconds * given.get("cpu", 0.0)
    found.gpu_seconds += seconds * given.get("gres/gpu", 0.0)
    found.used_core_seconds += _seconds(used)
    found.by_end[state] = found.by_end.get(state, 0.0) + seconds * nodes


def _add_memory(found: Allocated, peak: float, asked: float) -> None:
    if peak and asked:
        found.used_memory += peak
        found.memory += asked


def _tres(text: str) -> dict[str, float]:
    """Return what was allocated by its name: ``cpu=2,gres/gpu=1,mem=900M,node=1``."""
    pairs = (part.split("=", 1) for part in text.split(",") if "=" in part)
    return {key: _bytes(value) for key, value in pairs}


def _bytes(text: str) -> float:
    known = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(known[1]) * _UNITS[known[2]] if known else 0.0


def _joules(text: str) -> float:
    """Return an energy; Slurm has 0 or 2^64 - 2 where it knows none."""
    return float(text) if text.isdigit() and int(text) < 1 << 62 else 0.0


def _seconds(text: str) -> float:
    """Return a time of sacct, ``1-02:03:04``, ``02:03:04`` or ``03:04.567``."""
    days, _, rest = text.rpartition("-")
    found = 0.0
    for part in rest.split(":") if rest else []:
        found = 60 * found + float(part)
    return found + 86400 * int(days or 0)
