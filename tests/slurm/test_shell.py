"""What the batch script does before the cell: it waits for the store, logs there, and stops where a set-up line fails."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from slurm import view
from slurm.profiles import Profile
from slurm.records import Array, Submission
from slurm.request import parameters, script

WEIRD = "a \\ b'c\nd %j"  # a backslash, a quote, a line break, and what Slurm takes for a pattern

CELL = 'echo "the cell runs in $PWD with $X"'


def started(folder: Path, jobs: Path, profile: Profile, cell: str = CELL) -> subprocess.Popen[str]:
    """Start the lines that come before a cell, and another command in its place, as Slurm would as task 3 of array 7."""
    code = folder / "code"
    code.mkdir(exist_ok=True)
    lines = parameters(profile, jobs, code, "bench-x-0")["slurm_setup"]
    assert isinstance(lines, list)
    path = folder / "slurm_script"
    path.write_text("\n".join(["#!/bin/bash", *lines, cell, ""]))
    known = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "9", "SLURMD_NODENAME": "n1"}
    variables = {**os.environ, **known, "TMPDIR": str(folder)}
    return subprocess.Popen(["bash", str(path)], env=variables, cwd="/", stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", ["plain", WEIRD])
def test_a_job_waits_for_its_store_and_logs_there(tmp_path: Path, name: str) -> None:
    jobs = tmp_path / name / "jobs"
    job = started(tmp_path, jobs, Profile(setup=["export X=1"], store_wait=20))
    time.sleep(1.5)
    assert job.poll() is None
    jobs.mkdir(parents=True)
    assert job.wait(20) == 0
    assert (jobs / "7_3_0_log.out").read_text() == f"the cell runs in {tmp_path / 'code'} with 1\n"
    assert job.stdout is not None and job.stdout.read() == ""


def test_a_job_whose_store_never_comes_says_so_on_the_node(tmp_path: Path) -> None:
    job = started(tmp_path, tmp_path / "missing", Profile(store_wait=1))
    assert job.wait(20) == 74
    assert "can't be written from n1 for" in (tmp_path / "bench-9.log").read_text()


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["cd /nowhere"], "cd /nowhere"),
        (["module() { return 3; }", "module load cuda/99"], "module load cuda/99"),
        (["true", "X=$(false)"], "X=$(false)"),
    ],
)
def test_a_set_up_line_that_fails_ends_the_job_and_is_the_reason(tmp_path: Path, lines: list[str], line: str) -> None:
    made = Submission("s", "g", "", [Array("a", ["c"], {}, 1)], "here", {}, {})
    jobs = made.path(tmp_path) / "jobs"
    jobs.mkdir(parents=True)
    assert started(tmp_path, jobs, Profile(setup=lines)).wait(20) == 78
    assert (jobs / "7_3_0_log.out").read_text() == ""
    said = view._setup_failure(tmp_path, made, "7_3")
    assert said.startswith("a set-up line of the profile failed with exit code") and said.endswith(f": {line}")
    assert said in (jobs / "7_3_0_log.err").read_text()


def test_what_may_fail_does_not_end_a_job(tmp_path: Path) -> None:
    (tmp_path / "rc").write_text("grep -q x /dev/null\ntrue\n")
    lines = [f"source {tmp_path}/rc", "false || true", "if false; then", "exit 1", "fi", "[ -d /nowhere ] && exit 1"]
    job = started(tmp_path, tmp_path, Profile(setup=[*lines, "export X=2"]))
    assert job.wait(20) == 0
    assert (tmp_path / "7_3_0_log.out").read_text().endswith("with 2\n")


@pytest.mark.parametrize(("code", "container", "asked"), [(77, "env", True), (77, None, False), (3, "env", False)])
def test_a_cell_without_scontrol_leaves_it_to_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, container: str | None, asked: bool
) -> None:
    (python := tmp_path / "python").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\nexit 9\n')
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    job = started(tmp_path, tmp_path, Profile(container=container), f"sh -c 'exit {code}'")
    assert job.wait(20) == (9 if asked else code)
    assert (tmp_path / "asked").exists() == asked
    assert not asked or (tmp_path / "asked").read_text() == f"-m slurm.outside {tmp_path}\n"


def test_slurm_itself_writes_nothing_to_the_store(tmp_path: Path) -> None:
    text = script(Profile(), tmp_path / "store", tmp_path / "store" / "code", "bench-x-0", 3)
    asked = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --output=/dev/null", "#SBATCH --error=/dev/null", "#SBATCH --chdir=/"} <= set(asked)
    assert not any(str(tmp_path) in line for line in asked)
