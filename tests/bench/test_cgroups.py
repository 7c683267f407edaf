"""Limits of cgroups, from trees as kernels show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import cgroups, machine

GIB = 1 << 30
NO_LIMIT = "9223372036854771712"  # what version 1 writes


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cores", "memory"),
    [
        ("0::/", {}, None, None),
        ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        # a container of its own namespace: version 2
        ("0::/", {"cpu.max": "250000 100000", "memory.max": f"{4 * GIB}"}, 2.5, 4 * GIB),
        # a job of Slurm: its step has no limit, the job has
        (
            "0::/system.slice/slurmstepd.scope/job_7/step_0/user",
            {
                "system.slice/slurmstepd.scope/job_7/step_0/user/cpu.max": "max 100000",
                "system.slice/slurmstepd.scope/job_7/cpu.max": "800000 100000",
                "system.slice/slurmstepd.scope/job_7/memory.max": f"{16 * GIB}",
                "system.slice/memory.max": f"{64 * GIB}",
            },
            8.0,
            16 * GIB,
        ),
        # version 1, two controllers in one hierarchy
        (
            "5:cpu,cpuacct:/job\n4:memory:/job\n1:name=systemd:/x",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "150000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "memory/job/memory.limit_in_bytes": f"{2 * GIB}",
                "memory/memory.limit_in_bytes": NO_LIMIT,
            },
            1.5,
            2 * GIB,
        ),
        # version 1 without limits
        (
            "2:cpu:/\n3:memory:/",
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": NO_LIMIT,
            },
            None,
            None,
        ),
        # version 1 in a container: the paths are the host's, the mount is the container's
        (
            "2:cpu:/docker/abc\n3:memory:/docker/abc",
            {
                "cpu/cpu.cfs_quota_us": "400000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": f"{GIB}",
            },
            4.0,
            GIB,
        ),
        # both side by side
        (
            "3:memory:/a\n0::/b",
            {
                "memory/a/memory.limit_in_bytes": f"{8 * GIB}",
                "unified/b/cpu.max": "300000 100000",
                "unified/b/memory.max": f"{6 * GIB}",
            },
            3.0,
            6 * GIB,
        ),
        ("nonsense", {"cpu.max": "100000 100000"}, None, None),
    ],
)
def test_the_tightest_limit_of_all_groups_counts(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float | None, memory: int | None
) -> None:
    of_process = tmp_path / "cgroup"
    of_process.write_text(groups + "\n")
    root = tree(tmp_path / "fs", files)
    assert (cgroups.cores(root, of_process), cgroups.memory(root, of_process)) == (cores, memory)


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (2.5, 2), (0.5, 1), (64.0, 8)])
def test_cores_are_whole_and_at_least_one(monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int) -> None:
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cgroups, "cores", lambda: quota)
    assert machine.usable_cores() == cores


def test_memory_is_the_machines_or_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "memory", lambda: None)
    whole = machine.usable_memory()
    monkeypatch.setattr(cgroups, "memory", lambda: whole // 2)
    assert machine.usable_memory() == whole // 2
    monkeypatch.setattr(cgroups, "memory", lambda: whole * 2)
    assert machine.usable_memory() == whole
