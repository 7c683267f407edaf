"""What a job does: waiting for a rival, leaving alone what is not its own, and what comes after a signal."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.files import read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.ticket import Ticket, read_ticket
from slurm.job import run_task
from slurm.records import Array, Submission
from slurm.stopping import Cause, judged
from slurm.task import Task
from tests.conftest import TOY

ROOT = Path(__file__).parents[2]
GRID = """
recipe: {dataset: toy, network: {name: deeplabv3plus, backbone: tiny}, schedule: {iterations: 2}}
axes: {seed: [0]}
resources: {threads: 1}
"""


def submitted(tmp_path: Path, *changes: str) -> Task:
    """Return the task of the grid's only cell; each change is YAML whose `recipe` and `axes` are added to the grid's."""
    content = yaml.safe_load(GRID)
    for change in map(yaml.safe_load, changes):
        for section, values in change.items():
            content[section] |= values
    path = tmp_path / "g.yaml"
    path.write_text(yaml.safe_dump(content))
    request = Request(str(path), (), (), tmp_path / "store")
    plan = make_plan(request)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    Ticket("s", 0, 0).write(Run(request.store / jobs[0].cell_id))
    return Task((replace(jobs[0], submission="s"),), 1, 1)


def test_a_job_waits_for_the_process_of_its_first_start_to_die(tmp_path: Path) -> None:
    """Slurm reruns a job whose first process it has lost sight of; that one still works, and then is gone."""
    task = submitted(tmp_path)
    run = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id)
    code = "import sys, time; from pathlib import Path; from bench.store.run import Run\n"
    code += "with Run(Path(sys.argv[1])).claim() as mine: print(mine, flush=True); time.sleep(6)"
    with subprocess.Popen([sys.executable, "-c", code, str(run.path)], cwd=ROOT, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"True\n"
        begin = time.monotonic()
        (said,) = run_task(task)
        assert said == f"{run.id}: done"
        assert time.monotonic() - begin > 4
    assert len(list(read_jsonl(run.attempts))) == 1


def test_a_job_that_was_taken_back_does_nothing(tmp_path: Path) -> None:
    task = submitted(tmp_path)
    run = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id)
    Ticket("s", 0, 0).cancel(run)
    (said,) = run_task(task)
    assert "cancelled" in said
    assert not run.attempts.exists()


def test_a_store_that_never_appears_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = submitted(tmp_path)
    monkeypatch.setattr("slurm.job.STORE_WAIT", 1.0)
    (tmp_path / "store").rename(tmp_path / "lost")
    with pytest.raises(SystemExit) as ended:
        run_task(task)
    assert ended.value.code == 75


def test_a_lane_leaves_ended_and_damaged_cells_alone(tmp_path: Path) -> None:
    task = submitted(tmp_path)
    job = task.jobs[0]
    other = replace(job, cell_id="damaged")
    (Path(job.store) / "damaged").mkdir()
    (Path(job.store) / "damaged" / "ticket.json").write_text("{")
    first, second = run_task(Task((other, job), 1, 1))
    assert first == "damaged: is pending"
    assert [path.name for path in (Path(job.store) / "damaged").glob("ticket*")] == ["ticket.json.damaged-1"]
    assert second == f"{job.cell_id}: done"
    assert run_task(Task((other, job), 1, 1))[1] == f"{job.cell_id}: is done"


LANE = """
import pickle, sys
from pathlib import Path
from slurm.job import run_task
print("a process", flush=True)
print(run_task(pickle.loads(Path(sys.argv[1]).read_bytes())))
"""


def test_after_a_lost_device_a_lane_goes_on_in_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", f"{TOY}:{TOY.with_name('bad_methods.py')}")
    bad = submitted(tmp_path, "{axes: {method: [{bad: {how: ecc}}]}, recipe: {schedule: {iterations: 6}}}")
    lane = Task((*bad.jobs, *submitted(tmp_path).jobs), 1, 1)
    pickled = tmp_path / "task.pkl"
    pickled.write_bytes(pickle.dumps(lane))
    command = [sys.executable, "-c", LANE, str(pickled)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    printed = done.stdout.splitlines()
    first, lost, second, ends = (line for line in printed if not line.startswith("20"))  # those begin with a time
    assert any(f"{lane.jobs[1].cell_id}: done, step 2 of 2" in line for line in printed)
    assert first == second == "a process"
    assert lost.startswith("the device is lost")
    assert ends == str([f"{lane.jobs[0].cell_id}: is failed", f"{lane.jobs[1].cell_id}: done"])


def test_a_job_that_is_stopped_while_it_waits_is_requeued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would count as completed, and nobody would go on when the first process dies."""
    task, requeued = submitted(tmp_path), list[str]()
    run = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id)
    monkeypatch.setattr("slurm.stopping.why", lambda grace: Cause.PREEMPTED)
    monkeypatch.setattr("slurm.stopping.requeue", lambda: requeued.append("yes"))
    monkeypatch.setattr("slurm.job.time.sleep", lambda _: os.kill(os.getpid(), signal.SIGUSR2))
    monkeypatch.setattr("bench.run.worker.run_cell", lambda job, signals: State.RUNNING)
    assert run_task(task) == [f"{run.id}: running"]
    assert requeued == ["yes"]


ENDS = "EndTime=2026-11-27T02:36:18"
NOW = time.mktime((2026, 11, 27, 2, 33, 0, 0, 0, -1))  # 198 seconds before


@pytest.mark.parametrize(
    ("facts", "restarts", "cause"),
    [  # as `scontrol show job -o` of Slurm 22.05 has them while a job's processes handle a signal
        ("JobState=COMPLETING Reason=None Restarts=0 EndTime=2026-11-27T02:33:00", 0, Cause.CANCELLED),  # scancel
        ("JobState=CANCELLED Reason=None Restarts=0 EndTime=2026-11-27T02:33:00", 0, Cause.CANCELLED),
        ("JobState=COMPLETING Reason=None Restarts=3 EndTime=2026-11-27T02:33:00", 3, Cause.CANCELLED),
        ("JobState=COMPLETING Reason=TimeLimit Restarts=0 EndTime=2026-11-27T02:33:00", 0, Cause.TIME_LIMIT),
        (f"JobState=RUNNING Reason=None Restarts=0 {ENDS} PreemptTime=None", 0, Cause.SIGNALLED),  # scancel --signal
        (f"JobState=RUNNING Reason=None Restarts=0 {ENDS} PreemptTime=2026-11-27T02:33:00", 0, Cause.PREEMPTED),
        (f"JobState=SIGNALING Reason=None Restarts=0 {ENDS}", 0, Cause.PREEMPTED),
        ("JobState=RUNNING Reason=None Restarts=0 EndTime=2026-11-27T02:34:59 PreemptTime=None", 0, Cause.TIME_LIMIT),
        ("JobState=RUNNING Reason=None Restarts=0 EndTime=Unknown PreemptTime=None", 0, Cause.SIGNALLED),  # no limit
        ("JobState=COMPLETING Reason=None Restarts=1 EndTime=Unknown", 0, Cause.REQUEUED),  # scontrol requeue
    ],
)
def test_why_a_job_was_signalled(facts: str, restarts: int, cause: Cause) -> None:
    assert judged(dict(word.split("=") for word in facts.split()), restarts, NOW, grace=30) is cause


@pytest.mark.parametrize(
    ("cause", "state", "code"),
    [
        (Cause.CANCELLED, "cancelled", None),
        (Cause.SIGNALLED, "preempted", 75),
        (Cause.UNKNOWN, "preempted", 75),
        (Cause.TIME_LIMIT, "timed-out", None),  # its max_requeues are used up
    ],
)
def test_what_a_person_ended_stays_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Cause, state: str, code: int | None
) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", f"{TOY}:{TOY.with_name('bad_methods.py')}")
    monkeypatch.setattr("slurm.stopping.why", lambda grace: cause)
    monkeypatch.setattr("slurm.stopping.requeue", lambda: pytest.fail("it requeued itself"))
    task = submitted(tmp_path, "{axes: {method: [{bad: {how: stop}}]}, recipe: {schedule: {iterations: 8}}}")
    task = replace(task, max_requeues=0)
    if code is None:
        run_task(task)
    else:
        with pytest.raises(SystemExit) as ended:
            run_task(task)
        assert ended.value.code == code
    found = current_state(Run(Path(task.jobs[0].store) / task.jobs[0].cell_id))
    assert (found["state"], found["step"]) == (state, 5)
    assert {"cancelled": "scancel", "preempted": "SIGTERM", "timed-out": "max_requeues is 0"}[state] in str(
        found["reason"]
    )


def test_a_damaged_ticket_is_made_anew_from_the_submission_that_the_job_is_of(tmp_path: Path) -> None:
    task = submitted(tmp_path)
    run = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id)
    arrays = [Array("a", ["other"], {}, 1), Array("b", ["more", run.id], {}, 1)]
    Submission("s", "g", "code", arrays, "here", {}, {}).write(run.path.parent)
    run.ticket.write_text("{")
    assert run_task(task) == [f"{run.id}: done"]
    found = read_ticket(run)
    assert found is not None and (found.submission, found.array, found.index) == ("s", 1, 1)
    assert (run.path / "ticket.json.damaged-1").read_text() == "{"
