"""This machine: its processor, the cores and GPUs that this process may use, and how the C library handles memory."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

from bench.files import REPOSITORY


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


def default_threads(workers: int = 1) -> int:
    """Return the CPU threads of a cell that names none: ``OMP_NUM_THREADS``, else a share of the usable cores.

    Args:
        workers: cells that run at a time.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else max(usable_cores() // workers, 1)


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


def child_environment() -> dict[str, str]:
    """Return an environment in which this checkout's packages win over installed ones of the same name."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
