"""What a run ran on: recorded for every attempt, so that two numbers can be told apart by more than their value."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import NUMERICS, __version__
from bench.data import REPOSITORY
from bench.store.files import read_json

SNAPSHOT = "snapshot.json"  # the file at the root of a snapshot of the code that describes it
SLURM_FACTS = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_JOB_PARTITION",
    "SLURM_NODELIST",
    "SLURM_CPUS_PER_TASK",
)
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scipy", "pandas", "submitit", "pydantic")


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def code_state() -> dict[str, Any]:
    """Return the commit of the code and whether the tree has changes; None where this is no checkout.

    In a snapshot, which queued jobs run (see ``slurm/snapshot.py``), it is what was true when the snapshot was made.
    """
    known = read_json(REPOSITORY / SNAPSHOT)
    if known is not None:
        return dict(known)
    try:
        dirty = _git("status", "--porcelain", "--untracked-files=no")
        return {"git_sha": _git("rev-parse", "HEAD"), "git_dirty": None if dirty is None else bool(dirty)}
    except FileNotFoundError:  # no git here
        return {"git_sha": None, "git_dirty": None}


def package_versions() -> dict[str, str | None]:
    """Return the installed version of each package that can change a result."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the cores this process may use: its affinity, the cgroup's quota, and Slurm's allocation where there is one."""
    cores = len(os.sched_getaffinity(0))
    allocated = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if allocated.isdigit() and int(allocated) > 0:
        cores = min(cores, int(allocated))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def let_threads_sleep() -> None:
    """Make OpenMP's threads sleep while they wait, in this process and its children; to be called before torch is imported.

    Threads that spin slow each other down many times over where cells share cores with anything else.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> None:
    """Make the C library keep what this process frees for what it asks for next; to be called before much is allocated.

    A step on a CPU frees its activations and asks for the same again. Given back to the kernel in between, they return
    page by page, each emptied first, which takes up to a fifth of a step. The largest blocks still go back: kept, they
    leave holes that nothing fits, and more memory is taken for no more speed. No effect where the C library isn't glibc.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(trim_threshold, -1)  # never trim the heap
    mallopt(mmap_threshold, 32 << 20)  # the largest value that it takes


def gpus() -> list[int]:
    """Return the GPUs that this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(i) for i in visible.split(",") if i.strip().isdigit()]
    names = (p.name.removeprefix("nvidia") for p in Path("/dev").glob("nvidia[0-9]*"))
    return sorted(int(n) for n in names if n.isdigit())


def describe() -> dict[str, Any]:
    """Return the environment of this process, without torch's view of the device (see ``bench.worker``)."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": sys.argv,
        "version": __version__,
        "numerics_version": NUMERICS,
        **code_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "slurm": {k[6:].lower(): os.environ[k] for k in SLURM_FACTS if k in os.environ} or None,
    }
