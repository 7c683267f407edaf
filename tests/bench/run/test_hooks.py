"""What can happen to an attempt: a stop in the middle of an evaluation, a rival, a cancelled ticket, a full disk."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.files import read_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run import hooks
from bench.run.hooks import Hooks
from bench.run.signals import Signals
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from bench.store.ticket import Ticket, read_ticket
from tests.conftest import GRID


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[[str], Job]:
    content = yaml.safe_load(GRID)
    content["resources"] = {"threads": 1, "checkpoint_every": 2, "log_every": 1, "device": "cpu"}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))

    def make(name: str) -> Job:
        request = Request(str(path), (), (), tmp_path / name)
        plan = make_plan(request)
        jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
        return jobs[0]

    return make


def run_of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


@pytest.mark.parametrize("which", [1, 2, 3])  # the third is the last one, after the last step
def test_a_stop_in_the_middle_of_an_evaluation_costs_only_the_evaluation(
    make_job: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    calm, disturbed = make_job("calm"), make_job("disturbed")
    assert run_cell(calm) is State.DONE
    calls, original = 0, Hooks.evaluate

    def evaluate(self: Hooks, method: object) -> object:
        nonlocal calls
        calls += 1
        if calls == which:
            os.kill(os.getpid(), signal.SIGUSR2)
        return original(self, method)  # type: ignore[arg-type]

    monkeypatch.setattr(Hooks, "evaluate", evaluate)
    assert run_cell(disturbed) is State.PREEMPTED
    assert run_of(disturbed).read_state()["step"] == (3, 6, 8)[which - 1]
    assert run_cell(disturbed) is State.DONE
    for name in ("result.json", "metrics.jsonl"):
        assert (run_of(disturbed).path / name).read_bytes() == (run_of(calm).path / name).read_bytes()


def test_who_lost_the_run_to_a_rival_writes_nothing_more(
    make_job: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without shared locks another host can claim the run; the first one must notice and be silent."""
    job = make_job("store")
    run = run_of(job)
    before: dict[str, bytes] = {}
    original = Hooks.progress

    def progress(self: Hooks, step: int, miou: float | None) -> None:
        if step == 5:
            while list(run.path.glob(".checkpoint*.tmp")):  # written behind the loop's back
                time.sleep(0.01)
            run.lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": 0}))
            before.update(
                {p.name: p.read_bytes() for p in run.path.iterdir() if p.name in ("state.json", "checkpoint.pt")}
            )
        original(self, step, miou)

    monkeypatch.setattr(Hooks, "progress", progress)
    assert run_cell(job) is None
    assert not run.result.exists()
    assert {name: (run.path / name).read_bytes() for name in before} == before
    assert set(before) == {"state.json", "checkpoint.pt"}


def test_a_cancelled_ticket_stops_a_run_at_its_heartbeat(
    make_job: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "HEARTBEAT", 0.0)
    job = replace(make_job("store"), submission="s")
    run = run_of(job)
    Ticket("s", 0, 0).write(run)
    original = Hooks.progress

    def progress(self: Hooks, step: int, miou: float | None) -> None:
        ticket = read_ticket(run)
        if step == 3 and ticket is not None:
            ticket.cancel(run)
        original(self, step, miou)

    monkeypatch.setattr(Hooks, "progress", progress)
    assert run_cell(job) is State.PREEMPTED
    assert run.read_state()["step"] == 3


def test_a_full_disk_still_says_so(make_job: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the reserve is there nothing else can be written; without it, the reason can."""
    from bench import files
    from bench.train import checkpoint

    job = make_job("store")
    run = run_of(job)
    full, original = False, files.write_atomically

    def save(path: Path, content: object, *rest: object) -> None:
        nonlocal full
        full = True
        raise OSError(28, "No space left on device")

    def write(path: Path, content: Callable[..., None], **options: Any) -> None:
        if full and (path.parent / ".reserve").exists():
            raise OSError(28, "No space left on device")
        original(path, content, **options)

    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(files, "write_atomically", write)
    assert run_cell(job) is State.FAILED
    assert "the disk is full" in str(run.read_state()["reason"])
    assert read_json(run.result) is None


def test_a_caller_that_listens_hears_the_signal(make_job: Callable[[str], Job]) -> None:
    job, signals = make_job("store"), Signals()
    with signals.listening():
        os.kill(os.getpid(), signal.SIGUSR2)
        assert run_cell(job, signals) is State.PREEMPTED
    assert signals.received == signal.SIGUSR2


def test_what_was_put_in_the_background_stays_deaf_to_ctrl_c() -> None:
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signals = Signals()
        with signals.listening():
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.received is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, old)
