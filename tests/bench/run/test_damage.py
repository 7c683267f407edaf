"""Every small file of a run, damaged in every way: the cell is done as if nothing had been, or its state is `damaged`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import pytest

from bench.cli.inspect import find_run
from bench.errors import BenchError
from bench.files import read_json, sound_rows
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.report import records
from bench.report.curves import cut_short, read_curves
from bench.run.doctor import examine_runs
from bench.run.local import outcome
from bench.run.worker import run_cell
from bench.store import results
from bench.store.job import Job
from bench.store.liveness import current_state
from bench.store.run import Run, State
from bench.store.status import grid_status
from bench.store.summary import CellSummary, Summary
from bench.store.ticket import Ticket
from tests.bench.run.killing import run_in_child
from tests.bench.run.test_resume import COMPARED, make_job
from tests.damages import DAMAGES

# What can be derived or begun anew; what a checkpoint counts on, beside itself; and what can't be made anew at all.
BOOKKEEPING = (
    *("state.json", "ticket.json", "cell.json", "rounding.json", "memory.json", "attempts.jsonl", "timing.jsonl"),
    *("log.txt", "lock", ".reserve"),
)
COUNTED_ON = ("checkpoint.pt", "metrics.jsonl", "weights-best.pt", "confusion-best.npz")
LOST = ("result.json", "weights-last.pt", "weights-best.pt")
KEPT = (*BOOKKEEPING, "metrics.jsonl", "cost.json", "confusion-best.npz")
# Of these the run's state says that they were set aside; of others whoever finds it out prints it.
SAID = {"state.json", "ticket.json", "rounding.json", "memory.json", "attempts.jsonl", "timing.jsonl", "checkpoint.pt"}


class Prepared:
    """A cell that is done and the same one killed after its fifth step, to be copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = {name: make_job(folder / name, "supervised") for name in ("done", "killed")}
        assert run_in_child(self.jobs["done"]) == 0
        assert run_in_child(self.jobs["killed"], "step", 5) == -9
        self.id = self.jobs["done"].cell_id
        for name in self.jobs:
            Ticket("s", 0, 0).write(self.run(folder / name))
            (self.run(folder / name).path / "log.txt").touch()
        self.expected = self.files(self.run(folder / "done"))

    def run(self, folder: Path) -> Run:
        return Run(folder / "store" / self.id)

    def files(self, run: Run) -> dict[str, bytes]:
        return {name: (run.path / name).read_bytes() for name in COMPARED}

    def copy(self, name: str, to: Path) -> tuple[Run, Request]:
        shutil.copytree(self.folder / name, to / name)
        return self.run(to / name), Request(str(to / name / "grid.yaml"), (), (), to / name / "store")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        return Prepared(folder)


def jobs_of(request: Request) -> list[Job]:
    """Return the jobs of a grid's cells that aren't done, as `run` makes them."""
    plan = make_plan(request)
    return make_jobs(plan, plan.cells, request, retry=False)[0]


def again(request: Request) -> list[State | None]:
    """Run a grid's cells that aren't done, in this process."""
    jobs = jobs_of(request)
    states = [run_cell(job) for job in jobs]
    assert states == [outcome(job, os.getpid(), 0) for job in jobs]
    return states


def summary(run: Run) -> Summary:
    coords: dict[str, str | int] = {"method": "supervised", "seed": 0}
    return Summary(name="g", cells=[CellSummary(id=run.id, slug="s", coords=coords, iterations=8)])


def goes_on(prepared: Prepared, to: Path, files: Sequence[str], kind: str) -> Run:
    """Damage files of the half-done cell, let it go on, and check that it ends as the undisturbed one did."""
    run, request = prepared.copy("killed", to)
    for file in files:
        DAMAGES[kind](run.path / file)
    (before,) = grid_status(request.store, summary(run))["cells"]  # never a traceback, nor a wait
    assert before["state"] in ("preempted", "pending", "queued"), (kind, files)
    assert again(request) == [State.DONE], (kind, files)
    assert prepared.files(run) == prepared.expected, (kind, files)
    assert again(request) == [], (kind, files)
    assert "damaged" not in current_state(run), (kind, files)
    for file in files:  # nothing is lost of what was set aside, and status says so
        if os.path.lexists(run.path / f"{file}.damaged-1") and file in SAID:
            assert any(line.startswith(f"{file}: ") for line in run.read_state()["set_aside"]), (kind, file)
    return run


def stays_done(prepared: Prepared, to: Path, files: Sequence[str], kind: str) -> None:
    """Damage bookkeeping of the cell that is done, and check that it stays done with its score."""
    run, request = prepared.copy("done", to)
    for file in files:
        if not os.path.lexists(run.path / file):
            (run.path / file).touch()
        DAMAGES[kind](run.path / file)
    assert grid_status(request.store, summary(run))["totals"] == {"done": 1}, (kind, files)
    (record,) = records.load(request.store, summary(run).cells).records
    assert record.run.values["last"] == read_json(run.result)["last"]["miou"], (kind, files)
    assert again(request) == [], (kind, files)
    assert run.result.read_bytes() == prepared.expected["result.json"], (kind, files)
    examine_runs(request.store, mend=True)
    assert current_state(run)["state"] == "done" and "damaged" not in current_state(run), (kind, files)


def is_damaged(prepared: Prepared, to: Path, file: str, kind: str) -> None:
    """Damage what can't be made anew, and check that the cell is `damaged` everywhere, and otherwise left alone."""
    run, request = prepared.copy("done", to)
    DAMAGES[kind](run.path / file)
    (row,) = grid_status(request.store, summary(run))["cells"]
    assert row["state"] == "damaged" and f"/{file}: " in str(row["reason"]), kind
    (record,) = records.load(request.store, summary(run).cells).records
    assert record.run.state == "damaged" and set(record.run.values.values()) == {None}, kind
    assert again(request) == [State.DAMAGED], kind
    assert not list(run.path.glob("*.damaged-*")), kind
    problems = [check for check in examine_runs(request.store, mend=False) if check["verdict"] == "problem"]
    assert [check["detail"].split(":")[0] for check in problems] == [file], kind


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_half_done_cell_goes_on_from_its_checkpoint_whatever_its_bookkeeping(
    prepared: Prepared, tmp_path: Path, kind: str
) -> None:
    assert goes_on(prepared, tmp_path, BOOKKEEPING, kind).read_state()["from_step"] == 4


@pytest.mark.parametrize(("kind", "file"), list(zip(islice(cycle(DAMAGES), 5), cycle(COUNTED_ON), strict=False)))
def test_it_starts_over_where_its_checkpoint_or_what_that_counts_on_is_damaged(
    prepared: Prepared, tmp_path: Path, kind: str, file: str
) -> None:
    run = goes_on(prepared, tmp_path, [file], kind)
    assert run.read_state()["from_step"] == 0
    assert (run.path / "checkpoint.pt.damaged-1").exists() or file == "checkpoint.pt"


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_done_cell_stays_done_without_its_bookkeeping(prepared: Prepared, tmp_path: Path, kind: str) -> None:
    stays_done(prepared, tmp_path, KEPT, kind)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_result_or_weights_that_can_not_be_read_are_never_a_number(
    prepared: Prepared, tmp_path: Path, kind: str
) -> None:
    for file in LOST:
        is_damaged(prepared, tmp_path / file, file, kind)


@pytest.mark.parametrize("file", LOST)
def test_doctor_repairs_so_that_the_cell_is_done_or_trained_again(
    prepared: Prepared, tmp_path: Path, file: str
) -> None:
    run, request = prepared.copy("done", tmp_path)
    DAMAGES["random bytes"](run.path / file)
    (line, _) = examine_runs(request.store, mend=True)
    assert f"kept as {file}.damaged-1" in line["detail"]
    weights = file != "result.json"
    assert current_state(run)["state"] == ("done" if weights else "preempted")
    assert again(request) == ([] if weights else [State.DONE])
    if not weights:
        assert prepared.files(run) == prepared.expected
    assert examine_runs(request.store, mend=False)[-1]["detail"] == "1 of 1 have no damaged file"


def test_a_store_found_sound_is_not_read_again_and_a_change_is_seen(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = prepared.copy("done", tmp_path)
    looked = list[str]()
    real = results.check

    def look(run: Run, thorough: bool = False) -> object:
        looked.append(run.id)
        return real(run, thorough)

    monkeypatch.setattr(results, "check", look)
    for _ in range(2):
        assert grid_status(request.store, summary(run))["totals"] == {"done": 1}
    assert looked == [run.id]
    DAMAGES["empty"](run.weights("best"))
    assert grid_status(request.store, summary(run))["totals"] == {"damaged": 1}
    (request.store / ".cache" / "checked.json").write_text("[")
    assert grid_status(request.store, summary(run))["totals"] == {"damaged": 1}


@pytest.mark.parametrize("kind", ["empty", "FIFO"])
def test_the_cell_of_a_run_that_is_done_is_made_anew(prepared: Prepared, tmp_path: Path, kind: str) -> None:
    run, request = prepared.copy("done", tmp_path)
    before = run.cell.read_bytes()
    DAMAGES[kind](run.cell)
    assert again(request) == [] and run.cell.read_bytes() == before
    run.cell.unlink()
    (line, _) = examine_runs(request.store, mend=False)
    assert line["detail"] == "cell.json: missing; `run` of its grid makes it anew"
    assert again(request) == [] and run.cell.read_bytes() == before


@pytest.mark.parametrize("kind", ["half", "FIFO", "empty"])
def test_a_curve_that_ends_early_is_said(prepared: Prepared, tmp_path: Path, kind: str) -> None:
    run, request = prepared.copy("done", tmp_path)
    DAMAGES[kind](run.metrics)
    reached = max((row["step"] for row in sound_rows(run.metrics) if "eval" in row), default=0)
    assert reached < 8
    checks = [check["detail"] for check in examine_runs(request.store, mend=False)]
    assert f"metrics.jsonl: damaged or missing: its curve ends at step {reached} of 8; the result is sound" in checks
    cells = summary(run).cells
    (said,) = cut_short(cells, read_curves(request.store, [run.id]), request.store)
    assert said == f"{run.id}: metrics.jsonl is damaged or missing: its curve ends at step {reached} of 8"


def test_a_run_without_its_cell_is_found_and_other_names_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    run, request = prepared.copy("done", tmp_path)
    run.cell.unlink()
    for name in (run.id, run.id[:12], str(run.path)):
        assert find_run(name, request.store).id == run.id
    for name in ("/no/such/run", "..", "[x", "*"):
        with pytest.raises(BenchError, match="no such run"):
            find_run(name, request.store)
