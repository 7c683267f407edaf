"""What Slurm alone saw, and what is done about nodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.store.activity import is_open
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.ticket import Ticket
from slurm import commands, records
from slurm.commands import SlurmJob
from slurm.profiles import read_profile
from slurm.records import Array, Submission
from slurm.request import array_requests
from slurm.view import add_view, settle
from tests.slurm.test_parts import GRID, ROOT, SETTLE
from tests.slurm.test_task import submitted


def test_accounting_writes_many_tasks_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "7_[3-5,8%2]|a|CANCELLED by 0|None assigned|0:0\n7_1|a|COMPLETED|n1|0:0\n7_2|a|RUNNING|n2|0:0\n"
    said += "7_[10-20:4%3]|a|CANCELLED by 0|None assigned|0:0\n7_[30-31,...%2]|a|CANCELLED by 0|None assigned|0:0\n"
    monkeypatch.setattr(commands, "ask", lambda *_: said)
    found = commands.accounts(["7"])
    cancelled = {3, 4, 5, 8, 10, 14, 18, 30, 31}
    assert {job: known.state for (job, _), known in found.items()} == {
        "7_1": "COMPLETED", **{f"7_{index}": "CANCELLED" for index in cancelled}
    }  # fmt: skip


def test_what_slurm_alone_saw_end_is_shown_by_a_look_and_written_by_settle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retried cell whose new job died before it started; later, without Slurm, the files must still tell."""
    task = submitted(tmp_path)
    store = Path(task.jobs[0].store)
    run = Run(store / task.jobs[0].cell_id)
    run.write_state(State.FAILED, reason="the first end", submission="earlier")
    profile = read_profile("cpu").model_dump(mode="json")
    array = Array("bench-s-0", [run.id], profile, 1, "9")
    Submission("s", "g", "", [array], "here", {}, {}).write(store)
    row: Any = {"id": run.id, **current_state(run), "coords": {}, "iterations": 2}
    status: Any = {"cells": [row], "stale": [], "totals": {}}
    assert row["state"] == "queued"
    ended = SlurmJob("9", "NODE_FAIL", False, "n2", "exit code 1:0")
    monkeypatch.setattr(commands, "queue", lambda names: {})
    monkeypatch.setattr(commands, "accounts", lambda jobs: {("9", "bench-s-0"): ended})
    view = add_view(store, status)
    assert (row["state"], view.contradictions) == ("failed", [])
    assert "NODE_FAIL on n2" in str(row["reason"])
    assert current_state(run)["state"] == "queued"  # `status` only reads
    assert settle(store, view.ends) == 1
    assert "NODE_FAIL on n2" in str(current_state(run)["reason"])
    with run.claim():  # a process works on it: a look from before must not end it
        other = subprocess.run([sys.executable, "-c", SETTLE, str(store), run.id], cwd=ROOT, capture_output=True)
    assert (other.returncode, other.stdout) == (0, b"0\n"), other.stderr
    Ticket("t", 0, 0).write(run)  # submitted anew
    assert settle(store, view.ends) == 0
    (records.folder(store) / "s" / "submission.json").unlink()
    Ticket("s", 0, 0).write(run)
    run.state.unlink()
    lost: Any = {"id": run.id, **current_state(run)}
    status["cells"] = [lost]
    view = add_view(store, status)
    assert not is_open(lost)
    assert "is gone" in view.contradictions[0]


def test_nodes_that_fail_cells_are_excluded_beside_those_of_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(GRID)
    plan = make_plan(Request(str(path), (), (), tmp_path / "store"))
    profile = read_profile("cpu").model_copy(update={"parallel": 8, "exclude": "n7"})
    requests = array_requests(plan.cells, profile, str(path), 2, ["n1"])
    assert [b.profile.parallel for b in requests] == [8, 8, 8, 8]  # of all arrays together, see slurm.sharing
    assert {b.profile.exclude for b in requests} == {"n7,n1"}


def test_the_cluster_script_stops_nothing_but_its_own(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("")
    down = ROOT / "slurm" / "testcluster" / "down"
    done = subprocess.run([down, tmp_path, "--wipe"], capture_output=True, text=True, check=False)
    assert "no test cluster" in done.stderr
    assert precious.exists()
