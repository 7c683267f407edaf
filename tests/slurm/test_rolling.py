"""More cells than the cluster lets one user queue: what fits is submitted, and all are done in the end, each once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.files import read_jsonl
from bench.store.run import Run
from bench.store.ticket import Ticket, read_ticket
from slurm import records, rolling, tending
from slurm.records import Array, Submission
from slurm.submit import send
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.fakes import fake_slurm
from tests.slurm.test_cluster import Grid

# Accepts arrays as long as no more than the number in the file `room` are queued, as a limit of an association does.
SBATCH = r"""
for script; do :; done
n=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p' "$script"); n=$((${{n:-0}} + 1))
room=$(cat {folder}/room)
if [ "$n" -gt "$room" ]; then
    echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)" >&2
    exit 1
fi
echo $((room - n)) > {folder}/room
echo "$n" >> {folder}/accepted
echo "Submitted batch job $(wc -l < {folder}/accepted)"
"""


def held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, *counts: int) -> Submission:
    """Send a submission of arrays of so many cells, `c0` and on, to a cluster with that much room."""
    fake_slurm(tmp_path / "bin", monkeypatch, sbatch=SBATCH.format(folder=tmp_path))
    (tmp_path / "room").write_text(f"{room}\n")
    (tmp_path / "accepted").touch()
    names = iter(f"c{number}" for number in range(sum(counts)))
    cells = [[next(names) for _ in range(count)] for count in counts]
    arrays = [Array(f"bench-g-s-{i}", some, {"executor": "slurm"}, len(some)) for i, some in enumerate(cells)]
    made = Submission("s", "g", str(tmp_path / "code"), arrays, "here", {}, {})
    for number in range(len(arrays)):
        for cell in arrays[number].cells:
            (tmp_path / cell).mkdir()
        rolling.place(tmp_path, made, number)
    send(tmp_path, made)
    return made


def placed(store: Path, made: Submission) -> list[str]:
    """Return the cells in order of submission; every ticket says where its cell is."""
    found = []
    for number, array in enumerate(made.arrays):
        assert array.tasks == len(array.cells)
        for index, cell in enumerate(array.cells):
            ticket = read_ticket(Run(store / cell))
            assert ticket is not None and (ticket.array, ticket.index) == (number, index)
            found.append(cell)
    return found


@pytest.mark.parametrize(
    ("room", "counts"), [(0, (5,)), (1, (5,)), (3, (9, 4)), (11, (9, 4)), (12, (9, 4)), (13, (9, 4))]
)
def test_what_fits_is_submitted_and_the_rest_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, counts: tuple[int, ...]
) -> None:
    made = held_up(tmp_path, monkeypatch, room, *counts)
    every = [f"c{number}" for number in range(sum(counts))]
    assert (tmp_path / "room").read_text() == "0\n"  # all of it is used
    assert rolling.waiting(made) == sum(counts) - room
    assert sorted(placed(tmp_path, made)) == sorted(every)
    assert {array.deferred for array in made.arrays if array.job_id is None} <= {"AssocMaxSubmitJobLimit"}
    assert records.read_submission(tmp_path, "s") == made
    (tmp_path / "room").write_text("100\n")
    again = records.submissions(tmp_path)
    tending.roll(tmp_path, again)
    assert sorted(placed(tmp_path, again[0])) == sorted(every) and rolling.waiting(again[0]) == 0
    assert all(array.job_id is not None for array in again[0].arrays)
    assert sum(map(int, (tmp_path / "accepted").read_text().split())) == sum(counts)
    assert tending.roll(tmp_path, again) == []  # nothing twice


def test_cells_that_were_cancelled_while_they_waited_are_not_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = held_up(tmp_path, monkeypatch, 2, 6)
    waiting = [cell for array in made.arrays if array.deferred for cell in array.cells]
    assert len(waiting) == 4
    ticket = read_ticket(Run(tmp_path / waiting[0]))
    assert ticket is not None
    ticket.cancel(Run(tmp_path / waiting[0]))
    Ticket("another", 0, 0).write(Run(tmp_path / waiting[1]))
    (tmp_path / "room").write_text("100\n")
    (again,) = records.submissions(tmp_path)
    assert tending.roll(tmp_path, [again]) == ["2 cells that waited for room: job 3"]
    cancelled = read_ticket(Run(tmp_path / waiting[0]))
    assert cancelled is not None and cancelled.cancelled is not None
    assert {cell for array in again.arrays for cell in array.cells} == {"c0", "c1", *waiting[2:]}


def test_other_refusals_are_errors() -> None:
    assert (
        rolling.over_limit(RuntimeError("sbatch: error: QOSMaxSubmitJobPerUserLimit")) == "QOSMaxSubmitJobPerUserLimit"
    )
    assert rolling.over_limit(RuntimeError("AssocGrpSubmitJobsLimit\nsbatch: error")) == "AssocGrpSubmitJobsLimit"
    assert rolling.over_limit(RuntimeError("QOSMaxWallDurationPerJobLimit")) is None
    assert rolling.over_limit(RuntimeError("invalid account")) is None


@pytest.fixture
def limited(cluster: Cluster) -> Iterator[int]:
    """A cluster on which a user may have three jobs in the queue, as long as the test lasts."""
    conf, manage = cluster.folder / "etc" / "slurm.conf", ("sacctmgr", "-i")
    before = conf.read_text()

    def restart(text: str) -> None:
        conf.write_text(text)
        cluster.kill("slurmctld")
        wait_until(lambda: "DOWN" in cluster.slurm("scontrol", "ping"), 30, "the controller has gone")
        subprocess.run(["slurmctld"], env=cluster.environment, check=True)
        cluster.up()

    cluster.slurm(*manage, "add", "account", "lab")
    cluster.slurm(*manage, "add", "user", "root", "account=lab", check=True)
    cluster.slurm(*manage, "modify", "user", "root", "set", "MaxSubmitJobs=3", check=True)
    restart(f"{before}AccountingStorageEnforce=limits\n")
    yield 3
    cluster.slurm(*manage, "modify", "user", "root", "set", "MaxSubmitJobs=-1", check=True)
    restart(before)


@pytest.mark.slurm
def test_under_a_real_limit_the_jobs_themselves_submit_the_rest(cluster: Cluster, limited: int, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": list(range(8))})
    said = grid("submit")
    assert "wait for room in the queue (AssocMaxSubmitJobLimit)" in said
    assert len(cluster.slurm("squeue", "-h", "-r", "-u", "root").splitlines()) <= limited
    assert "waits for room in the queue" in grid("status") and "nothing to submit" in grid("submit", code=None)
    wait_until(lambda: set(grid.states()) == {"done"}, 300, "without any shell all cells are done")
    runs = [Run(grid.store / row["id"]) for row in grid.rows()]
    assert [len(list(read_jsonl(run.attempts))) for run in runs] == [1] * 8
