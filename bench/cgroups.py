"""What the cgroups of this process allow it: cores and memory, under version 1, version 2 and both side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OF_PROCESS = Path("/proc/self/cgroup")
UNLIMITED = 1 << 60  # bytes; version 1 writes the largest page-aligned number where there is no limit


def _groups(controller: str, root: Path, of_process: Path) -> Iterator[tuple[int, Path]]:
    """Yield the version and the folder of each group that limits this process, from its own to the outermost.

    In a container the paths of ``/proc/self/cgroup`` may be those of the host, which aren't there; then the folders that
    are, up to the mount, hold what counts.
    """
    try:
        lines = of_process.read_text("utf-8").splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            mounts = [(2, root), (2, root / "unified")]
        elif controller in controllers.split(","):
            mounts = [(1, root / controllers), (1, root / controller)]
        else:
            continue
        for version, mount in mounts:
            inner = mount / path.lstrip("/")
            folders = [inner, *inner.parents]
            yield from ((version, folder) for folder in folders[: folders.index(mount) + 1])


def _number(path: Path) -> int | None:
    """Return the number that a file holds; None where there is no file, or no number."""
    try:
        return int(path.read_text("utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _cores(version: int, folder: Path) -> float | None:
    if version == 2:
        try:
            quota, period = map(int, (folder / "cpu.max").read_text("utf-8").split())
        except (OSError, ValueError):  # `max` where there is no limit
            return None
    else:
        found = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        quota, period = (number or 0 for number in found)
    return quota / period if quota > 0 and period > 0 else None


def cores(root: Path = ROOT, of_process: Path = OF_PROCESS) -> float | None:
    """Return how many cores' time this process may use; None where no group limits it.

    Args:
        root: where the cgroups are mounted.
        of_process: the file that says in which groups the process is.
    """
    found = (_cores(*group) for group in _groups("cpu", root, of_process))
    return min((number for number in found if number is not None), default=None)


def memory(root: Path = ROOT, of_process: Path = OF_PROCESS) -> int | None:
    """Return how many bytes of memory this process's groups may use; None where no group limits it; see :func:`cores`."""
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    found = (_number(folder / names[version]) for version, folder in _groups("memory", root, of_process))
    return min((number for number in found if number is not None and 0 < number < UNLIMITED), default=None)
