"""The checks before anything is submitted, so that a large grid fails here and not when its jobs start."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from bench import locks
from bench.cost.predict import Predictions
from bench.data.roots import DataRoots
from bench.data.whole import faults
from bench.plan.preflight import missing_for
from bench.plan.request import Request
from bench.run.provenance import git_problem
from slurm import commands
from slurm.commands import SlurmError
from slurm.profiles import Profile, minutes
from slurm.request import ArrayRequest, refusal

PROBE_WITHIN = 15  # seconds that a free node is waited for


def problems(arrays: Sequence[ArrayRequest], request: Request, notes: list[str], probe: bool = True) -> list[str]:
    """Return all that is wrong with a submission.

    Args:
        arrays: what is asked for.
        request: the grid.
        notes: takes what could not be looked at.
        probe: let a job try the store; pointless where jobs have just written it.
    """
    notes += filter(None, [git_problem()])
    return [
        *_dataset_problems(arrays, request),
        *_missing_files(arrays, request),
        *_store_problems(request.store),
        *_memory_problems(arrays, request, notes),
        *(_slurm_problems(arrays, request.store, notes, probe) if any(_slurm(a) for a in arrays) else []),
    ]


def _slurm(array: ArrayRequest) -> bool:
    return array.profile.executor == "slurm"


# -- data and store ----------------------------------------------------------------------------------------------------


def _dataset_problems(arrays: Sequence[ArrayRequest], request: Request) -> list[str]:
    """Check each dataset whole: a check that passed is remembered until one of its files changes."""
    return faults((p.cell.dataset for a in arrays for p in a.cells), DataRoots.parse(request.data), request.store)


def _missing_files(arrays: Sequence[ArrayRequest], request: Request) -> list[str]:
    """Look for the weights that cells need, unless a profile names another folder for them."""
    here = [array for array in arrays if "BENCH_WEIGHTS" not in array.profile.environment]
    return missing_for((planned.cell for array in here for planned in array.cells), request.store)


def _store_problems(store: Path) -> list[str]:
    probe = store / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        store.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        without_locks = locks.problem(store)
    except OSError as error:
        return [f"the store {store} can't be written: {error.strerror or error}"]
    return [without_locks] if without_locks else []


# -- memory ------------------------------------------------------------------------------------------------------------


def _memory_problems(arrays: Sequence[ArrayRequest], request: Request, notes: list[str]) -> list[str]:
    found: dict[str, str] = {}
    known = Predictions(request.store, DataRoots.parse(request.data))
    for array in arrays:
        if array.profile.gpu_memory is None:
            continue
        for start in range(0, len(array.cells), array.profile.pack):
            packed = array.cells[start : start + array.profile.pack]
            predicted = [known.of(planned.cell, max(array.profile.gpu_count, 1)) for planned in packed]
            notes += [
                f"{planned.cell.id}: its memory can't be predicted: {one['error']}"
                for planned, one in zip(packed, predicted, strict=True)
                if "error" in one
            ]
            about, needs = (
                sum(one[key] for one in predicted if "error" not in one) / 1e9
                for key in ("reserved_bytes", "needed_bytes")
            )
            if needs > array.profile.gpu_memory:
                text = f"about {about:.1f} GB, needs {needs:.1f} GB with margin; the GPU has {array.profile.gpu_memory:g} GB"
                found.setdefault(text, " beside ".join(planned.cell.id for planned in packed))
    return [f"{cell} and cells of its shape won't fit: {text}" for text, cell in found.items()]


# -- Slurm -------------------------------------------------------------------------------------------------------------


def _slurm_problems(arrays: Sequence[ArrayRequest], store: Path, notes: list[str], probe: bool) -> list[str]:
    if not commands.available():
        return ["there is no Slurm on this machine (no sbatch): log in where there is, or use --profile local"]
    try:
        partitions = commands.partitions()
    except SlurmError as error:
        return [f"Slurm doesn't answer: {error}"]
    found: list[str] = []
    distinct = {a.profile.model_dump_json(): a.profile for a in arrays if _slurm(a)}
    for profile in distinct.values():
        wrong = _partition_problems(profile, partitions)
        if not wrong and (why := refusal(profile)) is not None:
            wrong = [f"Slurm refuses the request: {why}"]
        found += wrong
        if probe and not wrong:
            found += _probe(profile, store, notes)
    return found


def _partition_problems(profile: Profile, partitions: dict[str, dict[str, str]]) -> list[str]:
    default = next((name for name, p in partitions.items() if p.get("Default") == "YES"), None)
    wanted = profile.partition.split(",") if profile.partition else [default] if default else []
    if not wanted:
        return ["the profile names no partition, and the cluster has no default one"]
    found = []
    for name in wanted:
        if name not in partitions:
            found.append(f"there is no partition '{name}'; the cluster has: {', '.join(partitions)}")
            continue
        limit = partitions[name].get("MaxTime", "UNLIMITED")
        if limit not in ("UNLIMITED", "INFINITE", "NONE") and minutes(profile.time) > minutes(limit):
            found.append(f"time {profile.time} is above the limit of partition '{name}', {limit}")
        if partitions[name].get("State", "UP") != "UP":
            found.append(f"partition '{name}' is {partitions[name]['State']}")
    return found


def _probe(profile: Profile, store: Path, notes: list[str]) -> list[str]:
    """Let a job see and write the store, if a node is free at once; it takes a second or two."""
    name = f".probe-{uuid.uuid4().hex[:8]}"
    path = store.resolve() / name
    asked: dict[str, str | None] = {
        k: getattr(profile, k) for k in ("partition", "account", "qos", "constraint", "exclude")
    }
    options = [f"--{key}={value}" for key, value in asked.items() if value]
    command = ["srun", "-n1", "-c1", "--mem=100M", "--time=1", f"--immediate={PROBE_WITHIN}", "--job-name=bench-probe"]
    # The test ends with 3 where the store is missing or read-only; other codes are srun's own.
    command += ["--chdir=/", *options, "sh", "-c", 'touch "$1" || exit 3', "sh", str(path)]
    try:
        with commands.outside_any_job():
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        notes.append("no node answered in a minute, so whether jobs can write the store was not tried")
        return []
    seen = path.exists()
    path.unlink(missing_ok=True)
    if done.returncode == 0 and seen:
        return []
    if done.returncode == 3 or (done.returncode == 0 and not seen):
        return [f"a job can't write the store {store.resolve()}: put it where all nodes see it (--store, BENCH_STORE)"]
    why = " ".join(done.stderr.split())
    notes.append(f"whether jobs can write the store was not tried: {why or 'no node was free at once'}")
    return []
