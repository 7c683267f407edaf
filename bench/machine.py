"""This machine: its processor, the cores and GPUs that this process may use, and how the C library handles memory."""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from bench import cgroups
from bench.files import REPOSITORY

DEVICES = Path("/dev")


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the cores this process may use: its affinity, the cgroups' quota, and Slurm's allocation where there is one."""
    cores = len(os.sched_getaffinity(0))
    allocated = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if allocated.isdigit() and int(allocated) > 0:
        cores = min(cores, int(allocated))
    quota = cgroups.cores()
    return cores if quota is None else min(cores, max(1, int(quota)))


def usable_memory() -> int:
    """Return the bytes of memory this process may use: the machine's, or what its cgroups allow."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(physical, cgroups.memory() or physical)


def default_threads(device: str = "cpu", processes: int = 1) -> int:
    """Return the CPU threads of a cell that names none: ``OMP_NUM_THREADS``, else the usable cores, shared among the GPUs.

    How many cells run at a time is not asked: sums depend on the number of threads.

    Args:
        device: of the cell, as in ``resources.device``; GPUs share the cores only where it may take one.
        processes: of the cell, each with a GPU.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    share = 1 if device == "cpu" else max(len(gpus()) // processes, 1)
    return max(usable_cores() // share, 1)


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


def gpus() -> list[str]:
    """Return the GPUs that this process may use, without importing torch; each as ``CUDA_VISIBLE_DEVICES`` spells it.

    As CUDA reads that variable: indices count the GPUs that the driver lets this process have, whatever the numbers of
    their files; UUIDs (``GPU-…``) and names of MIG instances (``MIG-…``) stand beside them; an entry that is none of these,
    such as ``-1``, hides itself and all after it. An entry that is there twice counts once.
    """
    visible, count = os.environ.get("CUDA_VISIBLE_DEVICES"), driver_gpus()
    if visible is None:
        return [str(index) for index in range(count)]
    entries = dict.fromkeys(entry.strip() for entry in visible.split(","))
    return list(itertools.takewhile(lambda entry: _is_gpu(entry, count), entries))


def _is_gpu(entry: str, count: int) -> bool:
    """Tell whether CUDA takes an entry; `count` is the number of GPUs, 0 where it isn't known."""
    if entry.isdecimal():
        return count == 0 or int(entry) < count
    return entry.startswith(("GPU-", "MIG-"))


def gpus_are_hidden() -> bool:
    """Tell whether somebody has hidden all GPUs on purpose: ``CUDA_VISIBLE_DEVICES`` is empty, ``-1`` or ``NoDevFiles``."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")


def gpu_for(worker: int, processes: int = 1) -> str | None:
    """Return the ``CUDA_VISIBLE_DEVICES`` of one of the workers on this machine, counted from 0; None without GPUs.

    A worker whose cell several processes train has a GPU for each, as far as there are so many.
    """
    found = gpus()
    wanted = range(worker * processes, (worker + 1) * processes)
    return ",".join(dict.fromkeys(found[i % len(found)] for i in wanted)) if found else None


def driver_gpus() -> int:
    """Return how many GPUs the driver lets this process have, whether torch can use them or not; hidden ones count.

    A container, or a job's cgroup, may hold only some of the machine's; what ``/proc/driver/nvidia`` lists are all.
    """
    files = [p for p in DEVICES.glob("nvidia[0-9]*") if p.name.removeprefix("nvidia").isdecimal()]
    return sum(map(_opens, files)) if files else _listed_by_nvidia_smi()


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False
    return True


@cache
def _listed_by_nvidia_smi() -> int:
    """Return the number of GPUs where they have no files, as under WSL, or where the files have yet to be made."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith(b"GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def child_environment() -> dict[str, str]:
    """Return an environment in which this checkout's packages win over installed ones of the same name."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path != str(REPOSITORY)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *others])}
