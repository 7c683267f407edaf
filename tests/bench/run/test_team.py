"""A cell that two processes train: resumed to the bit, stopped together, ended with a reason where one of them is lost."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.files import read_jsonl
from bench.run.team import PeerFailed, Team
from bench.spec.resources import Resources
from bench.store.failures import Fault
from bench.store.job import Job
from bench.store.rounding import went_on
from bench.store.run import Run, State
from tests.bench.run.killing import run_in_child
from tests.bench.run.test_resume import COMPARED, make_job


def job_of_two(folder: Path, method: str = "classmix") -> Job:
    job = make_job(folder, method)
    return replace(job, resources={**job.resources, "threads": 2, "processes": 2})


def run_of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    job = job_of_two(tmp_path_factory.mktemp("whole") / "of-two")
    assert run_in_child(job) == 0
    return run_of(job)


def assert_same_files(run: Run, other: Run) -> None:
    for name in COMPARED:
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name


def gone(pid: int | None) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def meetings() -> set[Path]:
    """Return the folders in which processes find each other."""
    return set(Path(tempfile.gettempdir()).glob("bench-meeting-*"))


def test_what_trained_it_is_recorded(whole: Run) -> None:
    (attempt,) = read_jsonl(whole.attempts)
    assert (attempt["processes"], attempt["nodes"], attempt["threads"]) == (2, 1, 2)
    (model,) = whole.last_state()["hardware"]
    assert model.endswith(" (2 processes)")


@pytest.mark.parametrize("point", ["peer", "step"])
def test_a_run_whose_process_was_killed_goes_on_to_the_same_bits(tmp_path: Path, whole: Run, point: str) -> None:
    job, before = job_of_two(tmp_path / "store"), meetings()
    run, code = run_of(job), run_in_child(job, point, 5)
    if point == "peer":
        state = run.last_state()
        assert (code, state["state"], state["fault"]) == (0, State.FAILED.value, Fault.NODE.value)
        assert str(state["reason"]).split(": ", 1)[-1].startswith("process 2 of 2 was killed by SIGKILL")
    else:
        assert code == -9
        deadline = time.monotonic() + 30  # others may meet meanwhile
        while meetings() - before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert run_in_child(job) == 0
    assert_same_files(run, whole)
    assert [row["goes_on"] for row in read_jsonl(run.attempts)] == [False, True]


def test_a_signal_stops_both_at_one_step_and_one_process_may_go_on(tmp_path: Path) -> None:
    job = job_of_two(tmp_path / "store", "supervised")
    run = run_of(job)
    assert run_in_child(job, "signal", 3) == 0
    assert run.last_state()["state"] == State.PREEMPTED.value
    assert run.last_state()["step"] == 3
    alone = replace(job, resources={**job.resources, "processes": 1})
    assert run_in_child(alone) == 0
    assert run.is_done()
    said = went_on(run.last_state()["hardware"])
    assert said is not None
    assert "(2 processes) and went on on" in said


def test_a_process_that_fails_says_why_and_none_is_left(tmp_path: Path) -> None:
    """There is no checkpoint of the step at which it is to begin."""
    job = job_of_two(tmp_path / "store", "supervised")
    team = Team(run_of(job), job, Resources(**job.resources), torch.device("cpu"))
    with pytest.raises(PeerFailed, match="process 2 of 2: TypeError") as caught, team.at_work(4):
        pass
    assert caught.value.failure.state is State.FAILED


def test_a_process_that_would_wait_for_good_for_one_that_was_killed_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, whose collectives don't notice."""
    job, ended = job_of_two(tmp_path / "store", "supervised"), threading.Event()
    monkeypatch.setattr("bench.run.team.STUCK", 0.2)
    monkeypatch.setattr("os._exit", lambda _: ended.set())
    team = Team(run_of(job), job, Resources(**job.resources), torch.device("cpu"))
    with team.at_work(0):
        team._peers[0].child.send(signal.SIGKILL)
        assert ended.wait(30)
    state = run_of(job).last_state()
    assert (state["state"], state["fault"]) == (State.FAILED.value, Fault.NODE.value)


def test_the_others_end_with_the_first_one(tmp_path: Path) -> None:
    job = job_of_two(tmp_path / "store", "supervised")
    team = Team(run_of(job), job, Resources(**job.resources), torch.device("cpu"))
    with pytest.raises(KeyError), team.at_work(0):
        (pid,) = (peer.child.pid for peer in team._peers)
        assert not gone(pid)
        raise KeyError
    assert gone(pid)
