"""`run` on this machine: signals, a parent that dies, and cells that somebody else has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bench.files import REPOSITORY, read_json, read_jsonl
from bench.run.local import outcome
from bench.store.job import Job
from bench.store.liveness import current_state
from bench.store.run import Run, State
from tests.conftest import GRID
from tests.finished import write_result
from tests.typed import bench

LONG = 40  # iterations; the toy's steps take a few hundredths of a second


@dataclass
class Started:
    """A `run` in a process group of its own."""

    process: subprocess.Popen[str]
    store: Path

    def wait_for_steps(self, steps: int) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            lines = [row for path in self.store.glob("*/metrics.jsonl") for row in read_jsonl(path)]
            if any(row["step"] >= steps for row in lines):
                return
            time.sleep(0.02)
        raise AssertionError("no such step in 90 s")

    def run(self) -> Run:
        return Run(next(self.store.glob("*/cell.json")).parent)


def command(grid: Path, store: Path) -> list[str]:
    return [sys.executable, str(REPOSITORY / "bench.py"), "run", str(grid), "--store", str(store)]


def status_of(grid: Path, store: Path, *more: str) -> str:
    return " ".join(bench("status", str(grid), "--store", str(store), *more).split())


def run(grid: Path, store: Path, *more: str) -> None:
    bench("run", str(grid), "--store", str(store), *more)


def long_grid(folder: Path) -> Path:
    content = yaml.safe_load(GRID)
    content["recipe"]["schedule"]["iterations"] = LONG
    content["resources"] = {"log_every": 1, "threads": 1}
    path = folder / "long.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return long_grid(tmp_path)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder whose path is short enough for that of a socket in it."""
    with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def started(tmp_path: Path, grid: Path, temporary: Path) -> Iterator[Started]:
    process = subprocess.Popen(
        command(grid, tmp_path / "store"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    yield Started(process, tmp_path / "store")
    process.kill()
    process.wait()


def processes_of(store: Path) -> list[int]:
    """Return the processes that have a file of the store open."""
    found = []
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(fd.readlink()).startswith(str(store)):
                found.append(int(fd.parts[2]))
        except OSError:
            continue
    return sorted(set(found))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Result and metrics of the cell of `grid` where nothing ends it."""
    folder = tmp_path_factory.mktemp("whole")
    run(long_grid(folder), folder / "store")
    whole = Run(next((folder / "store").glob("*/result.json")).parent)
    return whole.result.read_bytes(), whole.metrics.read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_run_and_its_cells_with_a_checkpoint(
    started: Started, number: signal.Signals, code: int, grid: Path, uninterrupted: tuple[bytes, bytes]
) -> None:
    started.wait_for_steps(2)
    started.process.send_signal(number)
    assert started.process.wait(60) == code
    found = started.run()
    assert processes_of(started.store) == []
    state = found.read_state()
    assert state["state"] == State.PREEMPTED.value and found.checkpoint.exists(), state
    run(grid, started.store)
    assert (found.result.read_bytes(), found.metrics.read_bytes()) == uninterrupted
    assert len(list(read_jsonl(found.attempts))) == 2


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_cells_end_with_a_checkpoint_when_their_parent_is_killed(
    started: Started, steps: int, grid: Path, temporary: Path, uninterrupted: tuple[bytes, bytes]
) -> None:
    started.wait_for_steps(steps)
    assert list(temporary.glob("pymp-*"))
    started.process.send_signal(signal.SIGKILL)
    started.process.wait()
    deadline = time.monotonic() + 30
    while processes_of(started.store) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(started.store) == []
    assert list(temporary.glob("pymp-*")) == []
    found = started.run()
    assert found.result.exists() or found.checkpoint.exists(), found.read_state()
    assert current_state(found)["state"] in (State.PREEMPTED.value, State.DONE.value)
    run(grid, started.store)
    assert (found.result.read_bytes(), found.metrics.read_bytes()) == uninterrupted


def running(tmp_path: Path, owner: dict[str, object]) -> tuple[Job, Run]:
    run = Run(tmp_path / "cell")
    run.path.mkdir()
    run.write_state(State.RUNNING, step=3)
    run.lock.write_text(json.dumps(owner))
    return Job(str(tmp_path), "cell"), run


def test_a_run_that_another_host_took_over_keeps_its_state(tmp_path: Path) -> None:
    job, run = running(tmp_path, {"host": "elsewhere", "pid": 7, "since": 0})
    before = run.state.read_bytes()
    assert outcome(job, 4711, 1) is State.RUNNING
    assert run.state.read_bytes() == before


def test_a_cell_that_another_process_finished_meanwhile_is_done(tmp_path: Path) -> None:
    job, run = running(tmp_path, {"host": os.uname().nodename, "pid": 8, "since": 0})
    write_result(run)
    assert outcome(job, 4711, 0) is State.DONE
    assert run.read_state()["state"] == State.RUNNING.value


def test_a_killed_process_leaves_its_reason(tmp_path: Path) -> None:
    job, run = running(tmp_path, {"host": os.uname().nodename, "pid": 4711, "since": 0})
    assert outcome(job, 4711, -9) is State.PREEMPTED
    assert "signal 9" in str(run.read_state()["reason"])


def test_what_does_not_identify_a_run_is_taken_from_the_grid_of_today(tmp_path: Path, grid: Path) -> None:
    store, short = tmp_path / "store", ("--set", "schedule.iterations=2")
    run(grid, store, *short)
    found = Run(next(store.glob("*/cell.json")).parent)
    identity = read_json(found.cell)["identity"]
    found.result.unlink()
    found.state.unlink()
    run(grid, store, *short, "--set", "evaluation.batch_size=1")
    cell = read_json(found.cell)
    assert cell["spec"]["evaluation"]["batch_size"] == 1 and cell["identity"] == identity and found.result.exists()
    log = found.log.read_text()
    assert " step 0/2: begins" in log and " step 2/2: loss " in log and " step 2/2: evaluation: mIoU " in log
    assert "it lacks this call's --set schedule.iterations=3" in status_of(
        grid, store, "--set", "schedule.iterations=3"
    )
    assert "changed since: schedule.iterations 2, now 40" in status_of(grid, store)


def test_a_checkpoint_left_by_a_kill_after_the_result_goes_with_the_next_run(tmp_path: Path, grid: Path) -> None:
    store, short = tmp_path / "store", ("--set", "schedule.iterations=2")
    run(grid, store, *short)
    found = Run(next(store.glob("*/cell.json")).parent)
    found.checkpoint.write_bytes(b"left")
    run(grid, store, *short)
    assert found.result.exists() and not found.checkpoint.exists()


def test_a_cell_that_another_process_runs_is_named_with_its_process(tmp_path: Path, grid: Path) -> None:
    store = tmp_path / "store"
    planned = json.loads(bench("plan", str(grid), "--store", str(store), "--json"))
    found = Run(store / planned["cells"][0]["id"])
    with found.claim():
        found.write_state(State.RUNNING, host=os.uname().nodename, pid=os.getpid())
        said = bench("run", str(grid), "--store", str(store), code=1)
    assert f"{found.id}: running: another process runs it: pid {os.getpid()} on " in said


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_cells_outlive_the_server_that_forked_them(tmp_path: Path, grid: Path) -> None:
    store = tmp_path / "store"
    content = yaml.safe_load(grid.read_text())
    content["axes"]["seed"] = [0, 1, 2]
    grid.write_text(yaml.safe_dump(content))
    process = subprocess.Popen(command(grid, store), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    Started(process, store).wait_for_steps(2)
    (server,) = [child for child in children(process.pid) if children(child)]
    os.kill(server, signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "3 done" in said and "None" not in said, said
    states = [read_json(path)["state"] for path in store.glob("*/state.json")]
    assert states == ["done"] * 3
    attempts = [len(list(read_jsonl(path))) for path in store.glob("*/attempts.jsonl")]
    assert attempts == [1, 1, 1]


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        (1, State.FAILED, "its process ended with 1 before it began"),
        (None, State.PREEMPTED, "its process is gone"),
        (75, State.PREEMPTED, "the file system did not answer"),
        (-9, State.PREEMPTED, "when memory runs out"),
    ],
)
def test_a_process_that_dies_before_it_begins_leaves_a_reason(
    tmp_path: Path, code: int | None, state: State, reason: str
) -> None:
    run = Run(tmp_path / "cell")
    run.path.mkdir()
    run.write_state(State.PREEMPTED, step=3, host="here", pid=1, reason="stopped after 3 steps")
    assert outcome(Job(str(tmp_path), "cell"), 4711, code) is state
    assert reason in str(run.read_state()["reason"])


def test_a_process_that_said_how_it_ended_is_believed(tmp_path: Path) -> None:
    run = Run(tmp_path / "cell")
    run.path.mkdir()
    run.write_state(State.OUT_OF_MEMORY, host=os.uname().nodename, pid=4711, reason="too large")
    assert outcome(Job(str(tmp_path), "cell"), 4711, -11) is State.OUT_OF_MEMORY
    assert run.read_state()["reason"] == "too large"


@pytest.mark.parametrize("temporary", ["long", "missing"])
def test_any_folder_for_temporary_files_will_do(tmp_path: Path, grid: Path, temporary: str) -> None:
    folder = tmp_path / ("x" * 120) if temporary == "long" else tmp_path / "none"
    if temporary == "long":
        folder.mkdir()
    short = [*command(grid, tmp_path / "store"), "--set", "schedule.iterations=2"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(short, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
