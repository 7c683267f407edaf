"""Nodes that fail cells: what counts against one, and when it is excluded."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store.run import Run
from slurm import records
from slurm.job import run_task
from slurm.profiles import Profile, read_profile
from slurm.request import exclude_where_possible, excluding
from tests.conftest import TOY
from tests.slurm.fakes import fake_slurm
from tests.slurm.test_task import GRID, submitted
from tests.typed import bench

# Takes every job but those that exclude n1: a partition of one node.
ONE_NODE = """
for path; do :; done
grep -q -- '--exclude=.*n1' "$path" || exit 0
echo 'sbatch: error: allocation failure: Requested node configuration is not available' >&2
exit 1
"""
REFUSES = "echo 'sbatch: error: invalid account' >&2; exit 1"


@pytest.mark.parametrize(
    ("sbatch", "excluded", "unavoidable"),
    [
        (":", "n9,n1", ()),  # other nodes can take the job
        (ONE_NODE, "n9", ("n1",)),
        (REFUSES, "n9,n1", ()),  # preflight says what is wrong; it is not the exclusion
    ],
)
def test_a_node_is_excluded_only_where_another_one_can_take_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sbatch: str, excluded: str, unavoidable: tuple[str, ...]
) -> None:
    fake_slurm(tmp_path / "bin", monkeypatch, sbatch=sbatch)
    profile, stay = exclude_where_possible(Profile(exclude="n9"), ["n1"])
    assert (profile.exclude, stay) == (excluded, unavoidable)
    assert exclude_where_possible(Profile(exclude="n9"), []) == (Profile(exclude="n9"), ())
    local = read_profile("local")
    assert exclude_where_possible(local, ["n1"]) == (local, ())


def test_nodes_are_excluded_once() -> None:
    assert excluding(Profile(exclude="n1"), ["n1", "n2"]).exclude == "n1,n2"
    assert excluding(Profile(), []).exclude is None


@pytest.mark.parametrize("sbatch", [ONE_NODE, ":"])
def test_submit_says_which_nodes_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], sbatch: str
) -> None:
    from bench.cli.app import app

    fake_slurm(tmp_path / "bin", monkeypatch, sbatch=sbatch)
    grid, store = tmp_path / "g.yaml", tmp_path / "store"
    grid.write_text(GRID)
    for cell in ("a", "b"):
        records.note_failure(store, "n1", cell, "no [GPU]")
    app(["submit", str(grid), "--profile", "cpu", "--store", str(store), "--dry-run"], standalone_mode=False)
    shown = capfd.readouterr()
    if sbatch == ONE_NODE:
        assert shown.err == "not leaving out n1, where cells failed: no other node could take 1 cell\n"
        assert "--exclude" not in shown.out
    else:
        assert shown.err.startswith("leaving out node n1: 2 cells failed there")
        assert "#SBATCH --exclude=n1" in shown.out


@pytest.mark.parametrize(
    ("error", "counts"), [(BenchError("no weights: fetch them"), False), (RuntimeError("no CUDA device"), True)]
)
def test_only_what_is_no_input_error_counts_against_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, counts: bool
) -> None:
    task, moved = submitted(tmp_path), list[str]()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setattr("bench.run.worker.load_split", fail)
    monkeypatch.setattr("slurm.moving.move", lambda store, run, job, node, moves: moved.append(node))
    run_task(task)
    store = Path(task.jobs[0].store)
    assert Run(store / task.jobs[0].cell_id).read_state()["at_once"] is counts
    assert [failure.node for failure in records.failures(store)] == moved == (["n1"] if counts else [])


def test_a_node_that_breaks_after_some_steps_loses_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", f"{TOY}:{TOY.with_name('bad_methods.py')}")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    task, moved = submitted(tmp_path, "{axes: {method: [{bad: {how: ecc}}]}, recipe: {schedule: {iterations: 6}}}"), []
    monkeypatch.setattr("slurm.moving.move", lambda store, run, job, node, moves: moved.append(node))
    run_task(task)
    state = Run(Path(task.jobs[0].store) / task.jobs[0].cell_id).read_state()
    assert (state["at_once"], state["fault"], state["device_lost"]) == (False, "node", True)
    assert str(state["reason"]).startswith("n1: RuntimeError: CUDA error: uncorrectable ECC error")
    assert moved == ["n1"]


def test_bench_is_quiet_about_nodes_without_slurm(tmp_path: Path) -> None:
    grid = tmp_path / "g.yaml"
    grid.write_text(GRID)
    assert "1 cell in 1 task" in bench(
        "submit", str(grid), "--profile", "local", "--store", str(tmp_path / "s"), "--dry-run"
    )
