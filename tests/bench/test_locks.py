"""Locks, and file systems without any."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from bench import locks
from bench.errors import BenchError
from bench.run import doctor
from bench.store.activity import grid_activity
from bench.store.run import Run


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def flock(file: Any, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_one_has_a_lock_and_others_see_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not locks.is_locked(path)
    with path.open("wb") as one, path.open("wb") as other:
        assert not locks.is_locked(path)
        assert locks.lock(one) and locks.is_locked(path) and not locks.lock(other)
    assert not locks.is_locked(path)


def test_where_locks_work_nothing_is_wrong_and_nothing_is_left(tmp_path: Path) -> None:
    assert locks.problem(tmp_path) is None and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_line_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse(monkeypatch, code)
    assert "has no locks" in str(locks.problem(tmp_path))
    with pytest.raises(BenchError, match=r"has no locks \(.*\): put the store on one that has"), Run(tmp_path).claim():
        pass
    with pytest.raises(BenchError, match="has no locks"), grid_activity(tmp_path, "grid"):
        pass
    assert not Run(tmp_path).held()
    (check,) = [c for c in doctor.examine([], tmp_path)["checks"] if c["name"] == "store"]
    assert check["verdict"] == "problem" and "has no locks" in check["detail"]


def test_locks_that_everybody_gets_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda file, operation: None)
    assert "grants a lock to two at once" in str(locks.problem(tmp_path))


def test_a_lock_that_can_not_be_asked_for_at_the_moment_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.patience.PAUSES", (0.0, 0.0, 0.0))
    refuse(monkeypatch, errno.ESTALE)
    with pytest.raises(OSError, match="Stale"), Run(tmp_path).claim():
        pass
