"""Stores whose paths hold characters that mean something to Slurm or to submitit."""

from __future__ import annotations

import os
import pickle
import shlex
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store.job import Job
from slurm import job, submitit_private
from slurm.plain_path import plain
from slurm.profiles import Profile
from slurm.request import script
from slurm.task import Task

NAMES = [
    "half50%j",
    "%A_%a",
    "100%",
    "back\\slash",
    "a:b",
    'q"uote',
    "new\nline",
    "größe",
    os.fsdecode(b"caf\xe9"),
    "$HOME",
]


def test_a_plain_path_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a b+c=d,e@f_g-h" / ".slurm"
    assert plain(path) == path and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_other_paths_are_reached_through_a_link_beside_them(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "inner" / name
    folder.mkdir(parents=True)
    found = plain(folder)
    assert found.samefile(folder) and found == plain(folder)
    assert not set(str(found)) & set("%\\:\"'\n$") and str(found).isascii()


def test_a_dry_run_makes_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "50%" / "jobs"
    assert plain(folder, link=False) == plain(folder, link=False)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="choose another --store"):
        plain(tmp_path / "missing" / "50%")


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_scripts_name_logs_by_patterns_of_their_own_alone(tmp_path: Path, name: str, tasks: int) -> None:
    text = script(Profile(), tmp_path / name / "jobs", tmp_path / name / "code", "bench-1", tasks)
    pattern = "%A_%a_%t_log.out" if tasks > 1 else "%j_%t_log.out"
    folder = str(plain(tmp_path / name / "jobs", link=False))
    lines = [line for line in text.splitlines() if line]
    assert f"bench_jobs={shlex.quote(folder)}" in lines  # where the script itself logs
    words = shlex.split(lines[-1])
    assert f"{folder}/{pattern}" in words and words[-1] == folder
    assert not any(str(tmp_path) in line for line in lines if line.startswith("#SBATCH"))


@pytest.mark.parametrize("name", NAMES)
def test_a_job_finds_its_pickle_there(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "jobs"
    folder.mkdir(parents=True)
    submitit_private.write_pickle(plain(folder), "7_0", job.run_task, Task((Job("store", "cell"),), 1, 2))
    assert pickle.loads((folder / "7_0_submitted.pkl").read_bytes()).function is job.run_task
