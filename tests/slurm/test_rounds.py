"""Who submits a tuned grid's next round, and that it is submitted once. Slurm is made up; jobs run in this process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.errors import BenchError
from bench.files import read_json, write_json
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from slurm import records, rounds
from slurm.profiles import read_profile
from slurm.records import Array, Next, Submission
from slurm.submit import tasks_of
from tests.bench.run.test_tuning import request_of
from tests.slurm.fakes import fake_slurm

# Every job gets the next number; `queue` has the jobs that Slurm shows, until a test ends them.
SBATCH = """
case "$*" in *--test-only*) exit 0;; esac
number=$(($(cat {0}/count) + 1)); echo $number > {0}/count; echo "$number $*" >> {0}/asked
for script; do :; done
name=$(echo "$* $(grep job-name $script)" | grep -o 'job-name=[^ ]*' | head -1 | cut -d= -f2)
last=$(grep -o 'array=0-[0-9]*' $script | cut -d- -f2)
for index in $(seq 0 ${{last:-0}}); do echo "$number|${{last:+$index}}|$name|PENDING||Dependency" >> {0}/queue; done
sed -i 's/||bench/|N\\/A|bench/' {0}/queue
case "$*" in *--parsable*) echo $number;; *) echo "Submitted batch job $number";; esac
"""
SQUEUE = """
case "$*" in *--jobs*) grep "^$3|" {0}/queue | cut -d'|' -f4;; *) cat {0}/queue;; esac
true
"""
SCONTROL = "echo 'PartitionName=main Default=YES MaxTime=UNLIMITED State=UP'"
SRUN = 'for last; do :; done; touch "$last"'


class Tuned:
    """A grid of three trials, two of which go on after the rung, on a cluster that is made up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.request, self.bin = request_of(folder), folder / "bin"
        self.store = self.request.store
        ours = {"sbatch": SBATCH.format(self.bin), "squeue": SQUEUE.format(self.bin), "srun": SRUN}
        scancel = f'echo "cancel $*" >> {self.bin}/asked'
        fake_slurm(self.bin, monkeypatch, **ours, scontrol=SCONTROL, scancel=scancel)
        (self.bin / "count").write_text("0")
        self.queue = self.bin / "queue"
        self.queue.write_text("")
        monkeypatch.setattr("slurm.view.DELAY", 0.0)
        monkeypatch.chdir(folder)

    def __call__(self, verb: str, *more: str, code: int = 0) -> str:
        plan_and_keep(self.request)  # else each view would plan in a process of its own
        yes = ("--yes",) if verb != "status" else ()
        profile = ("--profile", "cpu") if verb in ("submit", "retry") else ()
        return self.words([verb, self.request.grid, *yes, *profile, *more, "--store", str(self.store)], code)

    def words(self, words: list[str], code: int = 0) -> str:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code, (result.output, result.exception)
        return " ".join(result.output.split())

    def asked(self) -> list[str]:
        return (self.bin / "asked").read_text().splitlines()

    def last(self) -> Submission:
        return records.submissions(self.store)[-1]

    def end(self, job: str | list[int] | None) -> None:
        """Let a job end in Slurm's eyes."""
        lines = self.queue.read_text().splitlines(keepends=True)
        self.queue.write_text("".join(line for line in lines if not line.startswith(f"{job}|")))

    def jobs(self) -> list[Job]:
        """Return the jobs of the last submission's only array."""
        made = self.last()
        (array,) = made.arrays
        return [task.jobs[0] for task in tasks_of(self.store, made, array)]


def of(made: Submission) -> Next:
    assert made.next is not None
    return made.next


def test_each_round_is_submitted_once_and_what_failed_is_left_to_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Tuned(tmp_path, monkeypatch)
    assert "job 2 submits the next round" in grid("submit")
    assert "--dependency=afterany:1 " in grid.asked()[1]
    assert "next round: job 2, waits for 1" in grid("status")
    assert "nothing to submit" in grid("submit") and len(grid.asked()) == 2
    grid.end("2")  # killed, say
    assert "next round: job 2 has ended without it" in grid("status")
    assert "job 3 submits the next round" in grid("submit")
    assert "--dependency=afterany:1 " in grid.asked()[2] and len(records.submissions(grid.store)) == 1

    first, jobs = grid.last(), grid.jobs()
    assert {job.until for job in jobs} == {2}
    assert [run_cell(job) for job in jobs] == [State.STOPPED] * 3
    before = [Run(grid.store / job.cell_id).metrics.read_bytes() for job in jobs]
    assert [run_cell(job) for job in jobs] == [State.STOPPED] * 3  # Slurm starts a job again whose node has died
    assert [Run(grid.store / job.cell_id).metrics.read_bytes() for job in jobs] == before
    grid.end("1")
    assert "2 cells: job 4" in grid.words(of(first).words)  # as the job does, and `wait`
    assert "another process went on" in grid.words(of(first).words)
    assert "nothing to submit" in grid("submit")  # the trial that the rung stopped stays where it is
    assert grid.asked()[3:] == [line for line in grid.asked()[3:] if line.split()[0] in ("4", "5", "cancel")]
    assert "cancel 3" in grid.asked()

    second, jobs = grid.last(), grid.jobs()
    assert {job.until for job in jobs} == {None} and of(second).job == "5"
    assert run_cell(jobs[0]) is State.DONE
    Run(grid.store / jobs[1].cell_id).write_state(State.FAILED, reason="a bug", submission=second.id)
    grid.end("4")
    said = grid.words(of(second).words)
    assert "1 failed" in said and "waits for trial" in said
    assert of(grid.last()).closed and "--with-what-is-there chooses among the others" in of(grid.last()).why
    assert "no next round: " in grid("status")

    grid("retry", "--only", f"trial={read_json(grid.store / jobs[1].cell_id / 'cell.json')['coords']['trial']}")
    third = grid.last()
    assert len(third.arrays[0].cells) == 1
    assert of(third).only is None  # the grid goes on as a whole
    grid("cancel")
    assert of(grid.last()).closed and f"cancel {of(third).job}" in grid.asked()
    assert "it was cancelled" in grid.words(of(third).words)


def test_trials_that_run_longer_than_their_jobs_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One was moved to another node by a job of its own, after the job of the next round had been submitted."""
    grid = Tuned(tmp_path, monkeypatch)
    grid("submit")
    made = grid.last()
    grid.queue.write_text(f"1|1|{made.arrays[0].name}|PENDING||Resources\n2|N/A|{rounds.name(made)}|RUNNING|n1|\n")
    assert "next round: job 2 submits it now" in grid("status")
    grid.words(of(made).words)
    assert (of(grid.last()).job, of(grid.last()).closed) == ("3", False)
    assert "--dependency=afterany:1 " in grid.asked()[-1]


def test_somebody_else_at_work_is_waited_for(tmp_path: Path) -> None:
    taken, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with records.submitting(tmp_path):
            taken.set()
            enough.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    assert taken.wait(10)
    with pytest.raises(BenchError, match="is at work"), records.submitting(tmp_path, 0.1):
        pass
    said: list[str] = []
    threading.Timer(0.2, enough.set).start()
    with records.submitting(tmp_path, 10.0, said.append):
        assert enough.is_set()
    with records.submitting(tmp_path, 10.0, said.append):  # free: not a word
        assert len(said) == 1
        assert "waiting 10 s at most" in said[0]
    other.join()


def submission(folder: Path, **more: Any) -> Submission:
    """Return a submission of a grid, that knows how to go on."""
    made = Submission("s", "g", str(folder), [Array("bench-s-0", ["c"], {}, 1, "1")], "here", {}, {})
    made.next = Next(["submit"], [], None, str(folder), **more)
    made.write(folder)
    return made


def test_wait_leaves_the_round_to_its_job_while_that_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    went, state = list[str](), ["PENDING"]
    monkeypatch.setattr(rounds, "state_of", lambda job: state[0] or None)
    monkeypatch.setattr(rounds, "go_on", lambda made: not went.append(made.id))  # type: ignore[func-returns-value]
    monkeypatch.chdir(tmp_path)
    Path("g.yaml").write_text("")
    made, waiter = submission(tmp_path, job="2"), rounds.Waiter(Request("g.yaml", (), (), tmp_path))
    assert waiter.goes_on() and not went
    monkeypatch.setattr(rounds, "GRACE", 0.0)  # it doesn't get a node
    assert waiter.goes_on() and went == ["s"]
    state[0] = "RUNNING"
    assert waiter.goes_on() and went == ["s"]
    state[0] = ""
    assert not waiter.goes_on() and went == ["s"]  # once is enough
    assert not rounds.Waiter(Request("g.yaml", ("schedule.iterations=1",), (), tmp_path)).goes_on()  # another grid
    rounds.close(tmp_path, made)
    assert not rounds.Waiter(Request("g.yaml", (), (), tmp_path)).goes_on()


def test_a_record_keeps_rungs_and_the_next_round_and_older_ones_are_read(tmp_path: Path) -> None:
    made = submission(tmp_path, job="2", waits_for=["1"], why="w")
    made.arrays[0].until = {"c": 7}
    made.write(tmp_path)
    read = records.read_submission(tmp_path, "s")
    assert read == made and read is not None
    assert (read.arrays[0].until_of("c"), read.arrays[0].until_of("d")) == (7, None)
    path = records.folder(tmp_path) / "s" / "submission.json"
    old = read_json(path)
    del old["next"], old["arrays"][0]["until"]
    write_json(path, old)
    read = records.read_submission(tmp_path, "s")
    assert read is not None and read.next is None and read.arrays[0].until_of("c") is None


def test_without_slurm_a_process_waits_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[tuple[list[str], dict[str, Any]]]()

    class Process:
        def __init__(self, command: list[str], **how: Any) -> None:
            started.append((command, how))

    monkeypatch.setattr("subprocess.Popen", Process)
    request = Request(str(tmp_path / "g.yaml"), ("a.b=1",), ("voc=voc",), tmp_path)
    (tmp_path / "g.yaml").write_text("")
    made = submission(tmp_path)
    monkeypatch.chdir(tmp_path)
    again = rounds.Again(request, "local", "seed=0", 2)
    again.note(tmp_path, made)
    rounds.watch(tmp_path, made, again)
    ((command, how),) = started
    kept = made.path(tmp_path) / "g.yaml"
    shared = [str(kept), "--store", str(tmp_path), "--set", "a.b=1", "--data", f"voc={tmp_path / 'voc'}"]
    assert command[1:] == [str(tmp_path / "bench.py"), "wait", *shared]
    assert how["start_new_session"] and how["env"]["PYTHONPATH"] == made.snapshot
    end = ["--profile", "local", "--yes", "--next-round", "s", "--only", "seed=0", "--parallel", "2"]
    assert of(made).words == ["submit", *shared, *end]
    assert read_profile("local").executor == "local"
