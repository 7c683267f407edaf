"""What a job says of itself: its name, its comment, and how far its cell is."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from bench.files import write_json
from bench.store.run import Run, State
from bench.store.ticket import Ticket
from slurm import telling
from slurm.names import job_name
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.fakes import fake_slurm
from tests.slurm.test_cluster import Grid
from tests.slurm.test_ends import slow
from tests.slurm.test_task import submitted
from tests.typed import bench


def test_a_name_says_grid_and_cell_and_means_nothing_to_slurms_commands() -> None:
    assert job_name("voc", "20260131-101112-ab12cd", 3, ["a", "b"]) == "bench-voc-20260131-101112-ab12cd-3"
    name = job_name("my, grid %j\n", "s", 0, ["toy-mean_teacher-s0-0123abcd"])
    assert name == "bench-my_grid_j_-toy-mean_teacher-s0-0123abcd-s-0"


def test_a_line_for_each_cell_that_moved(tmp_path: Path) -> None:
    first, second = Run(tmp_path / "first"), Run(tmp_path / "second")
    for run in (first, second):
        run.path.mkdir()
        write_json(run.cell, {"identity": {"schedule": {"iterations": 400}}})
    known, log = dict[str, str](), (tmp_path / "log").open("w+")
    with first.claim() as mine:
        assert mine
        first.write_state(State.RUNNING, step=100, it_per_s=2.0, miou=41.23)
        telling.tell([first, second], log, known)
        telling.tell([first, second], log, known)  # neither has moved
    first.write_state(State.FAILED, step=120, reason="a bug")
    telling.tell([first, second], log, known)
    log.seek(0)
    assert [line.split(" ", 1)[1] for line in log.read().splitlines()] == [
        "first: running, step 100 of 400, 2.0 it/s, left: 150 s, mIoU 41.2",
        "second: pending",
        "first: failed, step 120 of 400, mIoU 41.2, a bug",
    ]


def test_lines_come_while_a_cell_prints_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.2)
    run = Run(tmp_path / "cell")
    run.path.mkdir()
    with telling.told([run]):
        kept = os.dup(1)
        with (tmp_path / "elsewhere").open("w") as file:
            os.dup2(file.fileno(), 1)
            time.sleep(1.0)
        os.dup2(kept, 1)
        os.close(kept)
        run.write_state(State.DIVERGED, reason="not finite")
    lines = [line.split(" ", 1)[1] for line in capfd.readouterr().out.splitlines()]
    assert lines == ["cell: pending", "cell: diverged, not finite"]
    assert (tmp_path / "elsewhere").read_text() == ""


def test_retries_that_are_no_cells_fault_are_counted_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm(tmp_path / "bin", monkeypatch)
    task = submitted(tmp_path)
    run = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id)
    where = [str(tmp_path / "g.yaml"), "--store", str(run.path.parent)]
    Ticket("t", 0, 0, moves=2).write(run)
    said = bench("status", *where)
    assert "infrastructure retry 2" in said and "1 cell submitted again, 2 times in all" in said
    assert '"moves": 2' in bench("status", *where, "--json")
    Ticket("u", 0, 0).write(run)  # by a person
    assert "infrastructure" not in bench("status", *where)


@pytest.mark.slurm
def test_the_queue_names_grid_and_cell_and_the_jobs_log_its_progress(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, slow("a", "b", pause=0.5))
    grid("submit")
    ids = {row["id"] for row in grid.rows()}

    def shown() -> list[list[str]]:
        lines = cluster.slurm("squeue", "-h", "-t", "R", "-o", "%j|%k").splitlines()
        return [line.split("|") for line in lines if line.startswith("bench-grid-2")]

    wait_until(lambda: {comment for _, comment in shown()} == ids, 60, "the comments name the cells")
    assert all(re.fullmatch(r"bench-grid-\d{8}-\d{6}-\w{6}-0", name) for name, _ in shown())
    grid("wait")
    for row in grid.rows():
        (log,) = grid.store.glob(f".slurm/*/jobs/{row['job']}_0_log.out")
        assert re.search(rf"^\S+ {re.escape(row['id'])}: done, step 12 of 12, mIoU", log.read_text(), re.MULTILINE)
