"""Whether a run's process lives, told by one clock: that of the store's file system."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from bench import locks
from bench.store import clock
from bench.store.liveness import HEARTBEAT_TIMEOUT, current_state
from bench.store.run import Run, State


@pytest.fixture
def run(tmp_path: Path) -> Run:
    found = Run(tmp_path / "cell")
    found.path.mkdir()
    return found


def beat(run: Run, host: str, seconds_ago: float, clock_wrong_by: float = 0.0) -> None:
    """Record a heartbeat as a host does whose clock is wrong; the file system's is right."""
    with pytest.MonkeyPatch.context() as patch:
        now = time.time()
        patch.setattr(time, "time", lambda: now - seconds_ago + clock_wrong_by)
        run.write_state(State.RUNNING, host=host, step=3)
    os.utime(run.state, (now - seconds_ago, now - seconds_ago))


@pytest.mark.parametrize("clock_wrong_by", [-36000.0, -600.0, 0.0, 600.0, 36000.0])
@pytest.mark.parametrize(("seconds_ago", "state"), [(1.0, "running"), (HEARTBEAT_TIMEOUT + 60, "preempted")])
def test_a_wrong_clock_neither_kills_a_cell_nor_keeps_it_alive(
    run: Run, clock_wrong_by: float, seconds_ago: float, state: str
) -> None:
    beat(run, "elsewhere", seconds_ago, clock_wrong_by)
    assert current_state(run)["state"] == state


@pytest.mark.parametrize("wrong_by", [-36000.0, 36000.0])
def test_the_clock_of_who_looks_does_not_matter_either(
    run: Run, monkeypatch: pytest.MonkeyPatch, wrong_by: float
) -> None:
    beat(run, "elsewhere", 1.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + wrong_by)
    assert current_state(run)["state"] == "running"


def test_the_file_system_is_asked_for_its_time_and_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([1000.0, 5000.0])
    monkeypatch.setattr(clock, "_ask", lambda _: next(asked))
    assert clock.now(tmp_path) == pytest.approx(1000, abs=1) and clock.now(tmp_path) == pytest.approx(1000, abs=1)
    monkeypatch.setattr(clock, "ASKED_AGAIN", 0.0)
    assert clock.now(tmp_path) == pytest.approx(5000, abs=1)


def test_a_store_that_can_not_be_written_goes_by_this_machines_clock(tmp_path: Path) -> None:
    assert clock.now(tmp_path / "none") == pytest.approx(time.time(), abs=2)
    assert clock.now(tmp_path) == pytest.approx(time.time(), abs=2)
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_this_host_is_gone_when_its_lock_is(run: Run) -> None:
    beat(run, os.uname().nodename, 1.0)
    assert current_state(run)["state"] == "preempted"


def test_where_locks_are_granted_to_everybody_the_heartbeat_decides(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda file, operation: None)
    locks.have_locks.cache_clear()
    beat(run, os.uname().nodename, 1.0)
    assert current_state(run)["state"] == "running"
    beat(run, os.uname().nodename, HEARTBEAT_TIMEOUT + 60)
    assert current_state(run)["state"] == "preempted"
    locks.have_locks.cache_clear()
