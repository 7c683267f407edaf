"""``status`` only reads; ``wait`` records what only Slurm saw end. Slurm's answers are made up here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.files import write_json
from bench.store.liveness import current_state
from bench.store.run import Run
from bench.store.ticket import Ticket, read_ticket
from slurm import records
from slurm.profiles import read_profile
from slurm.records import Array, Submission
from slurm.view import add_view
from tests.slurm.fakes import fake_slurm
from tests.slurm.test_task import submitted
from tests.typed import bench

ENDED = "echo '9|bench-s-0|NODE_FAIL|n2|1:0'"


def in_slurms_hands(tmp_path: Path) -> tuple[Run, list[str]]:
    """Submit a cell as job 9 of submission `s`; return its run, and a verb's arguments."""
    task = submitted(tmp_path)
    run = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id)
    array = Array("bench-s-0", [run.id], read_profile("cpu").model_dump(mode="json"), 1, "9")
    Submission("s", "g", "", [array], "here", {}, {}).write(run.path.parent)
    return run, [str(tmp_path / "g.yaml"), "--store", str(run.path.parent), "--json"]


def test_status_shows_an_end_that_wait_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, arguments = in_slurms_hands(tmp_path)
    fake_slurm(tmp_path / "bin", monkeypatch, sacct=ENDED)
    before = {path: path.read_bytes() for path in run.path.parent.rglob("*.json")}
    (row,) = json.loads(bench("status", *arguments))["cells"]
    assert (row["state"], row["slurm"], row["node"], row["job"]) == ("failed", "NODE_FAIL", "n2", "9")
    assert {path: path.read_bytes() for path in run.path.parent.rglob("*.json")} == before
    assert current_state(run)["state"] == "queued"
    bench("wait", *arguments, code=1)
    assert "Slurm says NODE_FAIL on n2 (exit code 1:0)" in str(current_state(run)["reason"])
    fake_slurm(tmp_path / "bin", monkeypatch)  # Slurm has forgotten the job
    (row,) = json.loads(bench("status", *arguments))["cells"]
    assert (row["state"], row["slurm"]) == ("failed", None)


def test_submit_records_ends_unless_it_only_shows_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, arguments = in_slurms_hands(tmp_path)
    fake_slurm(tmp_path / "bin", monkeypatch, sacct=ENDED)
    bench("submit", *arguments, "--profile", "cpu", "--dry-run")
    assert current_state(run)["state"] == "queued"
    assert json.loads(bench("submit", *arguments, "--profile", "cpu", "--yes"))["submission"] is None
    assert current_state(run)["state"] == "failed"


@pytest.mark.parametrize(
    ("job", "state", "reason"),
    [
        ("9|N/A|bench-s-0|BOOT_FAIL|n2|None", "failed", "Slurm says BOOT_FAIL on n2"),
        ("9|N/A|bench-s-0|TIMEOUT|n2|TimeLimit", "timed-out", "Slurm says TIMEOUT on n2 (TimeLimit)"),
    ],
)
def test_without_accounting_the_controller_tells_how_a_job_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, state: str, reason: str
) -> None:
    run, arguments = in_slurms_hands(tmp_path)
    asked = f'case "$*" in *"-t all"*) echo "{job}";; esac'  # other questions are about what runs and waits
    fake_slurm(tmp_path / "bin", monkeypatch, squeue=asked, sacct="echo no accounting >&2; exit 1", sbatch="exit 1")
    (row,) = json.loads(bench("status", *arguments))["cells"]
    assert (row["state"], row["in_queue"]) == (state, False) and reason in row["reason"]
    assert reason in bench("wait", *arguments[:-1], code=1, stdout=True)
    assert current_state(run)["state"] == state


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ("19968", "failed", "a set-up line of the profile failed on n2; see `logs`"),  # 78 << 8, as wait() returns it
        ("78:0", "failed", "a set-up line of the profile failed on n2; see `logs`"),
        ("256", "failed", "Slurm says FAILED on n2 (exit code 1); see `logs`"),
        ("18944", "preempted", "its job could not write the store on n2"),
        ("", "failed", "Slurm says FAILED on n2 (NonZeroExitCode); see `logs`"),
        ("unknown", "failed", "Slurm says FAILED on n2 (NonZeroExitCode); see `logs`"),
    ],
)
def test_an_end_that_accounting_has_not_written_yet_has_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, state: str, reason: str
) -> None:
    """Seen in CI, where accounting was late: a wrong set-up line was taken for a bad node, and sent again three times."""
    _, arguments = in_slurms_hands(tmp_path)
    job, code = "9|N/A|bench-s-0|FAILED|n2|NonZeroExitCode", f"9 N/A {status}"
    asked = f'case "$*" in *exit_code*) echo "{code}";; *"-t all"*) echo "{job}";; esac'
    fake_slurm(tmp_path / "bin", monkeypatch, squeue=asked)
    (row,) = json.loads(bench("status", *arguments))["cells"]
    assert (row["state"], row["in_queue"]) == (state, False) and reason in row["reason"]


def test_cancelled_cells_go_on_only_when_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, arguments = in_slurms_hands(tmp_path)
    fake_slurm(tmp_path / "bin", monkeypatch)
    ticket = read_ticket(run)
    assert ticket is not None
    ticket.cancel(run)
    cpu, grid = ["--profile", "cpu", "--dry-run"], arguments[:-1]
    said = bench("submit", *grid, *cpu)
    assert "left alone: 1 cancelled; `submit --cancelled` goes on with cancelled ones" in said
    assert "SBATCH" not in said
    again = bench("submit", *grid, *cpu, "--cancelled")
    assert "1 cell in 1 task" in again and "left alone" not in again
    for states in ("cancelled", "failed,cancelled"):
        said = bench("retry", *grid, *cpu, "--state", states, code=2)
        assert said == "error: --state cancelled: `submit --cancelled` goes on with cells that were cancelled\n"
    (row,) = json.loads(bench("status", *arguments))["cells"]
    assert (row["state"], row["reason"]) == ("cancelled", "cancelled; `submit --cancelled` goes on with it")


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    run, arguments = in_slurms_hands(tmp_path)
    path = records.folder(run.path.parent) / "s" / "submission.json"
    for content, message in (({"id": 3}, "arrays: Field required"), ([], "should be"), ({"arrays": "x"}, "arrays: ")):
        write_json(path, content)
        with pytest.raises(BenchError, match="damaged") as caught:
            records.read_submission(run.path.parent, "s")
        assert message in str(caught.value) and "\n" not in str(caught.value)
    assert "submission.json: damaged" in bench("status", *arguments, code=2)


def test_a_ticket_is_read_as_it_was_written_and_its_damage_is_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ticket = Ticket("s", 1, 2, 3, 4.5, 6.5)
    ticket.write(run)
    assert read_ticket(run) == ticket
    write_json(run.ticket, {"submission": "s", "array": "first", "index": 0})
    (line,) = current_state(run)["damaged"]
    assert line.startswith("ticket.json: array: ") and "\n" not in line
    write_json(run.ticket, [1])
    assert current_state(run) == {"state": "pending", "damaged": ["ticket.json: not what belongs there (a JSON list)"]}


def test_a_submission_is_read_as_it_was_written(tmp_path: Path) -> None:
    arrays = [Array("a", ["c"], {"cpus": 4, "later": None}, 1, "9"), Array("b", [], {"executor": "local"}, 2, [7, 8])]
    made = Submission("s", "g", "code", arrays, "here", {"toy": "/d"}, {"threads": None}, True, 1, 2.5)
    made.write(tmp_path)
    assert records.read_submission(tmp_path, "s") == made
    assert records.submissions(tmp_path) == [made]
    assert records.read_submission(tmp_path, "t") is None
    records.note_failure(tmp_path, "n1", "c", "r")
    (failure,) = records.failures(tmp_path)
    assert (failure.node, failure.cell, failure.reason) == ("n1", "c", "r")


@pytest.mark.parametrize(
    ("host", "state", "in_queue"), [(os.uname().nodename, "failed", False), ("another", "queued", None)]
)
def test_a_local_worker_that_is_gone_is_seen_on_its_own_host_only(
    tmp_path: Path, host: str, state: str, in_queue: bool | None
) -> None:
    run, _ = in_slurms_hands(tmp_path)
    array = Array("bench-s-0", [run.id], read_profile("local").model_dump(mode="json"), 1, [2**22 + 1])
    Submission("s", "g", "", [array], host, {}, {}).write(run.path.parent)
    row: Any = {"id": run.id, **current_state(run)}
    status: Any = {"cells": [row], "stale": []}
    view = add_view(run.path.parent, status)
    assert (row["state"], row["slurm"], row["in_queue"]) == (state, None, in_queue)
    assert [end.cell for end in view.ends] == ([run.id] if state == "failed" else [])
