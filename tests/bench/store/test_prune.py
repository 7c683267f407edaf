"""Which files `prune` takes, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from bench.cli.app import app
from bench.store.kept import why_absent
from bench.store.run import Run, State
from tests.finished import archive, write_result

LEFT = ("result.json", "metrics.jsonl", "log.txt", "state.json", "cell.json")


def grid_of_four(grid_file: Path) -> Path:
    grid = yaml.safe_load(grid_file.read_text())
    grid["axes"]["seed"] = [0, 1, 2, 3]
    grid_file.write_text(yaml.safe_dump(grid))
    return grid_file


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["prune", *arguments])


def files(run: Run) -> set[str]:
    return {path.name for path in run.path.iterdir()} - {"lock"}


def fill(run: Run, state: State, grid: str) -> None:
    """Give a run all the files that there can be, of sizes that tell them apart."""
    run.path.mkdir(exist_ok=True)
    if not run.cell.exists():
        run.cell.write_text(json.dumps({"grid": grid, "coords": {}, "spec": {}, "identity": {}}))
    if state is State.DONE:
        write_result(run)
    run.metrics.write_text("")
    run.log.write_text("")
    run.write_state(state)
    for number, which in enumerate(("last", "best", "selected"), 1):
        run.weights(which).write_bytes(archive("x" * 1000 * number))
    run.checkpoint.write_bytes(archive("x" * 9000))


@pytest.fixture
def filled(grid_file: Path, tmp_path: Path) -> tuple[list[str], dict[str, Run]]:
    """A store of four cells: done, diverged, preempted and one that is being run; and a stale run of the grid."""
    store = tmp_path / "store"
    options = [str(grid_of_four(grid_file)), "--store", str(store)]
    planned = json.loads(CliRunner().invoke(app, ["plan", *options, "--json"]).stdout)
    states = (State.DONE, State.DIVERGED, State.PREEMPTED, State.PREEMPTED)
    runs = dict(zip(("done", "diverged", "preempted", "claimed"), planned["cells"], strict=True))
    found = {name: Run(store / row["id"]) for name, row in runs.items()}
    for run, state in zip(found.values(), states, strict=True):
        fill(run, state, "small")
    found["stale"] = Run(store / f"{found['done'].id.rpartition('-')[0]}-0000000000")
    fill(found["stale"], State.DONE, "small")
    return options, found


def test_says_how_much_and_removes_nothing_unasked(filled: tuple[list[str], dict[str, Run]]) -> None:
    options, runs = filled
    before = {name: files(run) for name, run in runs.items()}
    result = call(*options)
    assert result.exit_code == 1 and "no terminal to ask on" in str(result.exception)
    stale = sum(len(archive("x" * size)) for size in (9000, 1000, 2000, 3000))
    assert f"best: {len(archive('x' * 2000)) / 1e3:.1f} kB in 1 file of 1 run" in result.stdout
    assert f"checkpoints: {2 * len(archive('x' * 9000)) / 1e3:.1f} kB in 2 files of 2 runs" in result.stdout
    assert f"stale: {stale / 1e3:.1f} kB in 4 files of 1 run" in result.stdout
    assert {name: files(run) for name, run in runs.items()} == before


def test_removes_what_nothing_needs(filled: tuple[list[str], dict[str, Run]]) -> None:
    options, runs = filled
    before = {name: files(run) for name, run in runs.items()}
    found = json.loads(call(*options, "--yes", "--json").stdout)
    assert found["bytes"] == found["removed"] == sum(one["bytes"] for one in found["files"])
    gone = {name: before[name] - files(run) for name, run in runs.items()}
    everything = {"checkpoint.pt", "weights-last.pt", "weights-best.pt", "weights-selected.pt"}
    assert gone == {
        "done": {"checkpoint.pt", "weights-best.pt"},
        "diverged": {"checkpoint.pt"},
        "preempted": set(),
        "claimed": set(),
        "stale": everything,
    }
    assert all((runs[name].path / file).exists() for name in ("done", "stale") for file in LEFT)
    assert runs["done"].is_done() and runs["done"].read_state()["state"] == "done"
    said = why_absent(runs["done"], "best")
    assert said == f"{runs['done'].id}: its 'best' weights weren't kept (prune); it has: last, selected (--select)"
    assert call(*options, "--yes").stdout.endswith("nothing to remove\n")


def test_unfinished_runs_only_when_asked_and_never_one_that_is_run(filled: tuple[list[str], dict[str, Run]]) -> None:
    options, runs = filled
    with runs["claimed"].claim() as mine:
        assert mine
        result = call(*options, "--yes", "--what", "unfinished", "--what", "last")
    assert result.exit_code == 0, result.output
    assert not runs["preempted"].checkpoint.exists() and runs["claimed"].checkpoint.exists()
    assert runs["preempted"].weights("best").exists()  # of an unfinished run weights stay
    assert not runs["done"].weights("last").exists() and runs["done"].weights("best").exists()


def test_runs_without_this_calls_set_are_not_stale(filled: tuple[list[str], dict[str, Run]]) -> None:
    options, runs = filled
    before = {name: files(run) for name, run in runs.items()}
    other = [*options, "--set", "optimizer.lr=0.01"]
    assert call(*other, "--yes").stdout.endswith("nothing to remove\n")
    assert "not with --set" in str(call(*other, "--yes", "--what", "stale").exception)
    assert {name: files(run) for name, run in runs.items()} == before
