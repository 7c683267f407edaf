"""``status --watch`` goes on while anything works on the grid, and ends when nothing does."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench.cli.states import status_table
from bench.files import REPOSITORY
from bench.plan.request import Request
from bench.plan.summary import make_plan, plan_and_keep
from bench.store.activity import active, grid_activity
from bench.store.run import Run, State
from bench.store.status import grid_status


def test_watch_goes_on_between_two_cells_of_a_run(grid_file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    plan = make_plan(Request(str(grid_file), (), (), store))
    run = Run(store / plan.cells[0].cell.id)
    run.path.mkdir(parents=True)
    command = [sys.executable, str(REPOSITORY / "bench.py"), "status", str(grid_file), "--watch", "--store", str(store)]
    with grid_activity(store, plan.name):  # at work, yet no cell runs
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(5)
        assert watch.poll() is None
        run.write_state(State.FAILED, reason="the end of [it]", step=3)
    shown, _ = watch.communicate(timeout=30)
    assert watch.returncode == 0
    assert "the end of [it]" in shown
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0  # and ends at once


def test_watch_waits_for_a_run_that_has_not_begun(grid_file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    plan = make_plan(Request(str(grid_file), (), (), store))
    command = [sys.executable, str(REPOSITORY / "bench.py"), "status", str(grid_file), "--watch", "--store", str(store)]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert watch.stdout is not None
    assert "no cell of small has begun; waiting" in watch.stdout.readline()
    run = Run(store / plan.cells[0].cell.id)
    run.path.mkdir(parents=True)
    run.write_state(State.FAILED, reason="ended at once")
    shown, _ = watch.communicate(timeout=30)
    assert watch.returncode == 0 and "ended at once" in shown


def test_another_run_of_the_grid_is_named_and_its_cells_are_followed(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli.app import app

    store = tmp_path / "store"
    (cell,) = make_plan(Request(str(grid_file), (), (), store)).cells
    run = Run(store / cell.cell.id)

    def run_local(*_: object) -> dict[str, State]:
        run.write_state(State.RUNNING, step=3)
        threading.Timer(1.5, lambda: run.write_state(State.PREEMPTED, step=5, reason="asked to stop")).start()
        return {run.id: State.RUNNING}

    monkeypatch.setattr("bench.cli.rounds.run_local", run_local)
    with grid_activity(store, "small"), run.claim(), pytest.raises(SystemExit):
        app(["run", str(grid_file), "--store", str(store)], standalone_mode=False)
    said = capsys.readouterr()
    assert f"small is being run by pid {os.getpid()} on {socket.gethostname()}, since 20" in said.out
    assert "[1/1] supervised: preempted" in said.out and "asked to stop" in said.err
    assert State(run.read_state()["state"]) is State.PREEMPTED


def test_quiet_prints_nothing(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli.app import app

    monkeypatch.setattr("bench.cli.rounds.run_local", lambda *_: {})
    app(["run", str(grid_file), "--store", str(tmp_path / "store"), "--quiet"], standalone_mode=False)
    assert capsys.readouterr() == ("", "")


def test_a_run_says_in_the_store_that_it_is_at_work(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cli.app import app

    store, seen = tmp_path / "store", list[bool]()

    def run_local(*_: object) -> dict[str, State]:
        seen.append(active(store, "small"))
        return {}

    monkeypatch.setattr("bench.cli.rounds.run_local", run_local)
    app(["run", str(grid_file), "--store", str(store)], standalone_mode=False)
    assert seen == [True]
    assert not active(store, "small")


def test_a_low_terminal_shows_the_totals_first_and_the_cells_that_fit(grid_file: Path, tmp_path: Path) -> None:
    content = grid_file.read_text().replace("seed: [0]", f"seed: {list(range(30))}")
    grid_file.write_text(content)
    request = Request(str(grid_file), (), (), tmp_path / "store")
    state = grid_status(request.store, plan_and_keep(request)[1])
    console = Console(width=60, height=14, file=io.StringIO())
    console.print(status_table(state, every=False, width=60, height=14))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 14 and lines[1].startswith("30 pending; 0 % of all iterations")
    assert f"{30 - 9} more cells" in lines[1] + lines[2]
