"""Lengths in epochs, the supervised loss, and what of them identifies a cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.spec.cell import Cell
from bench.spec.epochs import steps_per_epoch
from bench.spec.facts import facts


def cell(grid_file: Path, *sets: str) -> Cell:
    return make_plan(Request(str(grid_file), sets, (), grid_file.parent / "store")).cells[0].cell


def epochs_grid(grid_file: Path) -> Path:
    """A grid like the fixture's, whose lengths are in epochs."""
    text = grid_file.read_text()
    changed = text.replace("iterations: 8", "epochs: 3").replace("every: 3", "every_epochs: 0.5")
    assert changed.count("epochs") == 2
    path = grid_file.with_name("epochs.yaml")
    path.write_text(changed)
    return path


@pytest.mark.parametrize(
    ("images", "steps"),
    # of UniMatch's runs on VOC, 8 unlabelled images a step on four GPUs, by their logs: 80 epochs from 92 to 1464 labels
    [(10582 - 92, 104880), (10582 - 183, 104000), (10582 - 366, 102160), (10582 - 732, 98480), (10582 - 1464, 91200)],
)
def test_an_epoch_has_as_many_steps_as_the_authors_have(images: int, steps: int) -> None:
    per_gpu = -(-images // 4)  # a distributed sampler rounds up; a last batch that isn't full is dropped
    assert steps_per_epoch(images, 8) == per_gpu // 2
    assert 80 * steps_per_epoch(images, 8) == steps


def test_epochs_become_steps_and_the_run_is_that_of_so_many_steps(grid_file: Path) -> None:
    made = cell(epochs_grid(grid_file))  # 20 unlabelled images, 2 a step
    assert (made.schedule.iterations, made.evaluation.every) == (30, 5)
    assert (made.schedule.epochs, made.evaluation.every_epochs) == (3, 0.5)
    assert made.id == cell(grid_file, "schedule.iterations=30", "evaluation.every=5").id
    assert Cell.from_spec(made.spec()) == made


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("schedule.iterations=4",), "schedule: both epochs and iterations are given"),
        (("evaluation.every=4",), "evaluation: both every_epochs and every are given"),
    ],
)
def test_a_length_that_is_given_twice_is_refused(grid_file: Path, sets: tuple[str, ...], said: str) -> None:
    path = epochs_grid(grid_file)
    with pytest.raises(BenchError, match=said):
        cell(path, *sets)
    assert cell(path, *sets, "schedule.epochs=null", "evaluation.every_epochs=null").schedule.iterations in (4, 40_000)


def test_the_loss_is_part_of_the_id_where_it_is_another(grid_file: Path) -> None:
    plain, mined = cell(grid_file), cell(grid_file, "loss.supervised=ohem")
    assert "loss" not in plain.identity()
    assert plain.id == cell(grid_file, "loss.supervised=ce").id
    assert mined.id != plain.id
    assert mined.id != cell(grid_file, "loss.supervised=ohem", "loss.ohem_kept=100").id
    assert Cell.from_spec(mined.spec()) == mined
    assert [facts(one)["loss.supervised"] for one in (plain, mined)] == ["cross-entropy", "ohem 0.7, 200000"]
    older = {key: value for key, value in plain.spec().items() if key != "loss"}
    assert Cell.from_spec(older).id == plain.id


def test_a_method_without_cross_entropy_says_so_when_it_is_planned(grid_file: Path) -> None:
    with pytest.raises(BenchError, match=r"loss\.supervised: method 'rc2l' has no cross-entropy"):
        cell(grid_file, "loss.supervised=ohem", 'method={"name": "rc2l"}')
