"""Profiles, scripts and records: all that needs no Slurm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.store.job import Job
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.ticket import Ticket
from slurm import records, snapshot
from slurm.profiles import Profile, minutes, profile_names, read_profile
from slurm.records import NodeFailure, bad_nodes
from slurm.request import array_requests, script
from slurm.resubmit import choose
from slurm.submit import record_submission
from tests.finished import write_result


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_limits_are_read_as_slurm_reads_them(days: int, hours: int, mins: int, secs: int) -> None:
    if days + hours + mins + secs == 0:
        with pytest.raises(ValueError, match="more than 0"):
            minutes("0-0")
        return
    exact = days * 1440 + hours * 60 + mins + secs / 60
    assert minutes(f"{days}-{hours:02d}:{mins:02d}:{secs:02d}") == -(-exact // 1)
    if not days:
        assert minutes(f"{hours}:{mins:02d}:{secs:02d}") == -(-exact // 1)


@pytest.mark.parametrize(("text", "expected"), [(90, 90), ("90", 90), ("90:30", 91), ("2-12", 3600), ("1-0:30", 1470)])
def test_short_time_limits(text: str | int, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_ships_is_valid_and_described(name: str, tmp_path: Path) -> None:
    profile = read_profile(name)
    assert profile.description
    text = script(profile, tmp_path, tmp_path, "bench-x-0", 3)
    if profile.executor == "slurm":
        assert f"--cpus-per-task={profile.cpus}" in text
        assert "--array=0-2%3" in text
        assert f"--signal=USR2@{profile.grace}" in text
        assert ("--gres=gpu:" in text) == bool(profile.gpus)


def test_an_unquoted_clock_time_is_not_a_number_of_minutes(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("time: 1:30:00\n")  # YAML 1.1 would read 5400
    assert minutes(read_profile(str(path)).time) == 90


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiem: 5", "unknown key (did you mean 'time'?)"),
        ("time: soon", "no time limit"),
        ("memory: lots", "amount of memory"),
        ("partition: 'a b'", "name that sbatch accepts"),
        ('setup: ["a\\nb"]', "one line"),
        ("environment: {'A B': x}", "environment variable"),
        ("options: {'--nice': 1}", "without the dashes"),
        ("gpus: a100", "type:number"),
        ("gpus: 2\npack: 2", "cells share one GPU"),
        ("gpus: 'a100:4'\npack: 2", "cells share one GPU"),
        ("options: {job-name: mine}", "the harness sets --job-name itself"),
        ("options: {array: 0-9}", "the harness sets --array itself"),
        ("options: {mem: 3G}", "write the profile's key `memory`"),
        ("extends: nothing", "unknown profile"),
        ("extends: ./p.yaml", "extends itself"),
    ],
)
def test_a_wrong_profile_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text + "\n")
    with pytest.raises(BenchError) as caught:
        read_profile(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_profile_extends_another_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: a100\naccount: vision\n")
    (tmp_path / "big.yaml").write_text("extends: ./mine.yaml\nmemory: 200G\n")
    found = read_profile(str(tmp_path / "big.yaml"))
    assert (found.account, found.gpus, found.gpu_memory, found.memory, found.cpus) == (
        "vision",
        "a100:1",
        40,
        "200G",
        8,
    )


def test_values_can_not_break_out_of_the_script(tmp_path: Path) -> None:
    profile = Profile(environment={"X": "$(touch /tmp/hacked) 'quoted'"}, constraint="a;rm -rf /")
    text = script(profile, tmp_path, tmp_path, "bench-x-0", 1)
    assert "#SBATCH --constraint='a;rm -rf /'" in text
    path = records.keep_variables(tmp_path / "environment.sh", profile.environment)
    done = subprocess.run(["sh", "-c", f". {path}; printenv X"], capture_output=True, text=True, check=True)
    assert done.stdout == "$(touch /tmp/hacked) 'quoted'\n"


def test_a_profiles_variables_are_for_its_owner_alone(tmp_path: Path) -> None:
    """They may be secrets: neither records nor scripts have them, and the file that has them has mode 600."""
    (path := tmp_path / "g.yaml").write_text(GRID)
    request = Request(str(path), (), (), tmp_path / "store")
    plan = make_plan(request)
    profile = read_profile("cpu").model_copy(update={"environment": {"TOKEN": "s3cret"}})
    requests = array_requests(plan.cells, profile, str(path), 100)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    made = record_submission(request.store, "g", requests, jobs)
    holders = [p for p in request.store.rglob("*") if p.is_file() and b"s3cret" in p.read_bytes()]
    assert [str(p) for p in sorted(holders)] == sorted(array.variables for array in made.arrays)
    assert {p.stat().st_mode & 0o777 for p in holders} == {0o600}
    assert "s3cret" not in script(profile, tmp_path, tmp_path, "bench-x-0", 1)
    assert records.keep_variables(tmp_path / "none.sh", {}) == "" and not (tmp_path / "none.sh").exists()


ROOT = Path(__file__).parents[2]
SETTLE = """
import sys
from pathlib import Path
from bench.store.run import State
from slurm.view import UnrecordedEnd, settle
print(settle(Path(sys.argv[1]), [UnrecordedEnd(sys.argv[2], "s", State.FAILED, "late")]))
"""
GRID = """
recipe: {dataset: toy, network: {name: deeplabv3plus, backbone: tiny}, schedule: {iterations: 2}}
axes: {method: [supervised, classmix], protocol: [full], seed: [0, 1, 2]}
overrides:
  - when: {method: classmix}
    set: {profile.memory: 64G, profile.time: 2-0}
"""


def test_one_array_per_distinct_request_split_at_the_clusters_limit(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(GRID)
    plan = make_plan(Request(str(path), (), (), tmp_path / "store"))
    plain = path.with_name("plain.yaml")
    plain.write_text(GRID.split("overrides")[0])
    other = make_plan(Request(str(plain), (), (), tmp_path / "store"))
    assert [c.cell.id for c in plan.cells] == [c.cell.id for c in other.cells]  # a profile never changes an id
    requests = array_requests(plan.cells, read_profile("cpu"), str(path), 2)
    assert [(b.profile.memory, len(b.cells)) for b in requests] == [("16G", 2), ("16G", 1), ("64G", 2), ("64G", 1)]
    assert minutes(requests[2].profile.time) == 2880
    (wrong := tmp_path / "w.yaml").write_text(GRID.replace("profile.memory: 64G", "profile.memroy: 64G"))
    plan = make_plan(Request(str(wrong), (), (), tmp_path / "store"))
    with pytest.raises(BenchError, match="unknown key \\(did you mean 'memory'"):
        array_requests(plan.cells, read_profile("cpu"), str(wrong), 2)


def test_a_ticket_gives_its_state(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert current_state(run)["state"] == "pending"
    ticket = Ticket("s", 0, 3)
    ticket.write(run)
    assert current_state(run)["state"] == "queued"
    run.write_state(State.FAILED, reason="x", submission="s")  # clocks of two hosts don't matter
    assert current_state(run)["state"] == "failed"
    Ticket("t", 0, 0).write(run)  # retried
    assert current_state(run)["state"] == "queued"
    Ticket("t", 0, 0).cancel(run)
    assert current_state(run)["state"] == "cancelled"
    run.write_state(State.PREEMPTED, reason="stopped with a checkpoint", submission="t")  # its job noticed and stopped
    assert current_state(run)["state"] == "cancelled"
    write_result(run)  # killed between the result and the record of it
    assert current_state(run)["state"] == "done"
    run.write_state(State.DONE)
    assert current_state(run)["state"] == "done"
    run.result.unlink()
    assert "result.json is missing" in str(current_state(run)["reason"])
    run.state.unlink()
    run.ticket.write_text("{")
    assert current_state(run)["state"] == "pending"
    (damaged,) = current_state(run)["damaged"]
    assert damaged.startswith("ticket.json: not JSON")


def test_only_what_nothing_works_on_is_submitted() -> None:
    rows: Any = [
        {"id": "a", "state": "pending"},
        {"id": "b", "state": "queued", "submission": "s", "in_queue": True},
        {"id": "c", "state": "queued", "submission": "s", "in_queue": False},  # Slurm lost it
        {"id": "d", "state": "queued", "submission": "s", "in_queue": None},  # Slurm doesn't answer
        {"id": "e", "state": "preempted", "submission": "s", "in_queue": True},  # requeued
        {"id": "f", "state": "running", "submission": "s", "in_queue": False},
        {"id": "g", "state": "preempted"},  # on this machine, without any submission
        {"id": "h", "state": "failed"},
    ]
    assert choose(rows, frozenset({"pending", "queued", "preempted", "running"})) == ["a", "c", "g"]


def test_a_cell_that_fails_everywhere_is_not_the_nodes_fault() -> None:
    pairs = [("n1", "a"), ("n2", "a"), ("n1", "b"), ("n2", "b"), ("n3", "c")]
    rows = [NodeFailure(node, cell, "r", 0.0) for node, cell in pairs]
    assert bad_nodes(rows) == {}
    rows += [NodeFailure("n3", "d", "no GPU", 0.0)]
    assert list(bad_nodes(rows)) == ["n3"]


def test_a_snapshot_is_the_code_and_the_same_code_once(tmp_path: Path) -> None:
    first = snapshot.take(tmp_path)
    assert snapshot.take(tmp_path) == first
    assert (first / "methods" / "reco.py").exists()
    assert not list(first.rglob("__pycache__"))
    facts = json.loads((first / "snapshot.json").read_text())
    assert facts["snapshot"] == first.name
    variables = snapshot.environment(first)
    assert variables["PYTHONPATH"] == str(first)
    assert variables["BENCH_PLUGINS"].startswith(str(first / "plugins" / "0"))


def test_a_job_whose_ticket_is_gone_leaves_the_run_alone(tmp_path: Path) -> None:
    from bench.store.job import holds_ticket

    run = Run(tmp_path)
    job = Job(str(tmp_path), run.id, submission="s")
    assert not holds_ticket(run, job)
    Ticket("s", 0, 0).write(run)
    assert holds_ticket(run, job)
    Ticket("t", 0, 0).write(run)
    assert not holds_ticket(run, job)
    assert holds_ticket(run, Job(str(tmp_path), run.id))  # a run on this machine needs none


def test_two_submitters_at_once(tmp_path: Path) -> None:
    with records.submitting(tmp_path), pytest.raises(BenchError, match="another submit"), records.submitting(tmp_path):
        pass
