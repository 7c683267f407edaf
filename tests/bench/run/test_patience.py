"""A store that is away while a cell runs costs the cell time and nothing else; what is no such thing isn't waited for."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.files import read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run import patience
from bench.run.recorder import Recorder
from bench.run.signals import Signals
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from tests.conftest import GRID


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return planned(tmp_path, "store")


def planned(folder: Path, store: str) -> Job:
    content = yaml.safe_load(GRID)
    content["resources"] = {"threads": 1, "checkpoint_every": 2, "log_every": 1, "device": "cpu"}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    request = Request(str(path), (), (), folder / store)
    plan = make_plan(request)
    ((job,), _) = make_jobs(plan, plan.cells, request, retry=False)
    return job


def run_of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


def failing_checkpoints(monkeypatch: pytest.MonkeyPatch, numbers: set[int], error: Callable[[], Exception]) -> None:
    """Let some of the checkpoints fail, counted from 1 over all attempts."""
    real, count = Recorder.checkpoint, iter(range(1, 1000))

    def checkpoint(self: Recorder, *arguments: Any) -> None:
        if next(count) in numbers:
            raise error()
        real(self, *arguments)

    monkeypatch.setattr(Recorder, "checkpoint", checkpoint)


def read_only() -> Exception:
    """Return what a library raises that can't write because the file system has become read-only."""
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    error.__cause__ = OSError(errno.EROFS, os.strerror(errno.EROFS))
    return error


def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = planned(tmp_path, "calm")
    assert run_cell(calm) is State.DONE
    failing_checkpoints(monkeypatch, {2, 3}, read_only)
    assert run_cell(job) is State.DONE
    assert len(list(read_jsonl(run_of(job).attempts))) == 3
    for name in ("metrics", "result"):
        assert getattr(run_of(job), name).read_bytes() == getattr(run_of(calm), name).read_bytes()


def test_a_store_that_vanishes_and_comes_back_is_waited_for(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, elsewhere = Path(job.store), tmp_path / "elsewhere"

    def vanish() -> Exception:
        store.rename(elsewhere)
        threading.Timer(1.5, lambda: elsewhere.rename(store)).start()
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(store))

    failing_checkpoints(monkeypatch, {2}, vanish)
    assert run_cell(job) is State.DONE
    assert len(list(read_jsonl(run_of(job).attempts))) == 2


def test_a_store_that_stays_away_leaves_the_cell_preempted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LIMIT", 0.0)
    failing_checkpoints(monkeypatch, {2}, read_only)
    assert run_cell(job) is State.PREEMPTED
    state = run_of(job).read_state()
    why = "the file system did not answer (OSError: [Errno 30] Read-only file system); run again to go on"
    assert (state["state"], state["reason"]) == ("preempted", why)
    assert run_cell(job) is State.DONE


def test_a_signal_ends_the_waiting(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its store is away for good: `timeout -s INT 8 bench.py run` must end all the same."""

    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))

    def away() -> Exception:
        if timer.ident is None:  # once
            timer.start()
        return OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    failing_checkpoints(monkeypatch, set(range(2, 1000)), away)
    monkeypatch.setattr(patience, "LIMIT", 1e6)
    assert run_cell(job) is State.PREEMPTED
    timer.join()
    assert len(list(read_jsonl(run_of(job).attempts))) < 4


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOENT, errno.ENOSPC])
def test_other_errors_fail_at_once(job: Job, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    failing_checkpoints(monkeypatch, {2}, lambda: OSError(code, os.strerror(code)))
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    assert run_cell(job) is State.FAILED
    assert os.strerror(code) in str(run_of(job).read_state()["reason"])
    assert len(list(read_jsonl(run_of(job).attempts))) == 1


def test_the_time_between_two_looks_grows(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted on a clock of its own: looks after 1, 2, 4 … 60, 60 seconds, until the limit."""
    now, looks = [0.0], list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(patience, "_writable", lambda run: looks.append(now[0]))
    with pytest.raises(OSError, match="Stale"):
        patience.outlast(run_of(job), failing_always, lambda error: True, Signals())
    gaps = [later - earlier for earlier, later in zip([0.0, *looks], looks, strict=False)]
    assert gaps[:6] == [1, 2, 4, 8, 16, 32] and set(gaps[6:]) == {60}
    assert patience.LIMIT - patience.LONGEST <= looks[-1] <= patience.LIMIT


def failing_always() -> None:
    raise OSError(errno.ESTALE, "Stale file handle")
