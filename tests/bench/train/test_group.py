"""Several processes train a cell as one does: the same losses, weights and statistics but for rounding, for every method."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from bench import registry
from bench.check.toy import CLASSES, batch
from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.processes import start
from bench.spec.cell import Cell
from bench.train.build import build_stepper
from bench.train.group import Group
from bench.train.norms import divide_norms
from methods.base import Batch, Unlabelled
from tests.conftest import GRID

CPU = torch.device("cpu")
PRELOAD = ["torch", "torchvision", "bench.train.build", "tests.bench.train.test_group"]
MUST = ("supervised", "mean_teacher", "classmix", "fixmatch")  # over ten steps, the others over two
METHODS = sorted(registry.names("method"))
CASES: dict[str, dict[str, Any]] = {
    **{name: {"method": name} for name in METHODS},
    "cutmix": {"method": {"name": "classmix", "mix": "cutmix"}},
    "parts": {"method": "mean_teacher", "numerics": {"batch_norm_parts": 2}},
    "accumulated": {"method": "reco", "accumulate": 2},
    "clipped": {"method": "classmix", "clip_norm": 0.1},
}
Trained = tuple[list[dict[str, float]], dict[str, Tensor]]  # losses by step, and the method's state


def make_cell(folder: Path, case: dict[str, Any], *sets: str) -> Cell:
    content = yaml.safe_load(GRID)
    content["axes"]["method"] = [case["method"]]
    content["recipe"]["schedule"] = {
        "iterations": 10,
        "batch": {"labelled": 4, "unlabelled": 4},
        "accumulate": case.get("accumulate", 1),
    }
    content["recipe"]["optimizer"]["clip_norm"] = case.get("clip_norm")
    content["recipe"]["numerics"] = case.get("numerics", {})
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    return make_plan(Request(str(path), sets, (), folder / "store")).cells[0].cell


def exact(given: Batch) -> Batch:
    def of(one: Unlabelled | None) -> Unlabelled | None:
        return one and replace(one, weak=one.weak.double(), partner=of(one.partner))

    labelled = replace(given.labelled, image=given.labelled.image.double())
    return replace(given, labelled=labelled, unlabelled=of(given.unlabelled))


def take_steps(cell: Cell, group: Group | None, steps: int) -> Trained:
    stepper = build_stepper(cell, CLASSES, CPU, group=group)
    stepper.method.train().double()
    losses = []
    for step in range(steps):
        micro = [exact(batch(2 * step + i, 4, 10, stepper.method)) for i in range(cell.schedule.accumulate)]
        stepper.take(micro)
        losses.append(stepper.take_means()[0])
    return losses, stepper.method.state_dict()


def _take_part(cells: dict[str, Any], rank: int, size: int, meeting: str) -> None:
    torch.set_num_threads(1)
    Tensor.float = lambda self, *_, **__: self.double()  # type: ignore[method-assign]
    group = None
    if size > 1:
        group = Group(rank, size)
        group.join(Path(meeting), CPU)
    found = {
        name: take_steps(Cell.from_spec(spec), group, 10 if name in (*MUST, "cutmix") else 2)
        for name, spec in cells.items()
    }
    torch.save(found, f"{meeting}-{rank}.pt")
    Group.leave()


def train(cells: dict[str, Cell], size: int) -> list[dict[str, Trained]]:
    """Return what each of the processes has in the end, in double precision."""
    specs = {name: cell.spec() for name, cell in cells.items()}
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        processes = [start(_take_part, (specs, rank, size, meeting), PRELOAD) for rank in range(size)]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * size
        return [torch.load(f"{meeting}-{rank}.pt") for rank in range(size)]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Trained], dict[str, Trained], dict[str, Trained]]:
    cells = {name: make_cell(tmp_path_factory.mktemp(name), case) for name, case in CASES.items()}
    (alone,), (first, second) = train(cells, 1), train(cells, 2)
    return alone, first, second


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(trained: Sequence[dict[str, Trained]], case: str) -> None:
    (losses, alone), (their_losses, first), (_, second) = (one[case] for one in trained)
    assert all(torch.equal(value, second[name]) for name, value in first.items())  # the same bits in both
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-9, atol=1e-10)
    assert [*losses[0]] == [*their_losses[0]]
    for one, other in zip(losses, their_losses, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()), rel=1e-6)  # means are sums in 32 bits


def test_statistics_of_parts_are_those_of_every_nth_image() -> None:
    norm, reference = nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    images = torch.randn(6, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.empty_like(images)
    for part in (1, 2, 0):  # the running statistics end with those of the first part
        reference.reset_running_stats()
        expected[part::3] = reference(images[part::3])
    divide_norms(norm, 3, None)
    torch.testing.assert_close(norm(images), expected)
    torch.testing.assert_close(norm.state_dict(), reference.state_dict())
    torch.testing.assert_close(norm.eval()(images), reference.eval()(images))


def test_the_parts_are_in_the_id_and_the_default_is_not(tmp_path: Path) -> None:
    plain, one, two = (make_cell(tmp_path, {"method": "supervised", "numerics": n}) for n in PARTS)
    assert plain.id == one.id != two.id


PARTS: tuple[dict[str, int], ...] = ({}, {"batch_norm_parts": 1}, {"batch_norm_parts": 2})


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["resources.processes=3"], "3 processes can't share its 4 labelled images"),
        (["resources.processes=4", "schedule.batch.unlabelled=6"], "4 processes can't share its 6 unlabelled images"),
        (["resources.processes=4", "schedule.accumulate=2"], "4 processes can't share its 2 labelled images"),
        (["resources.processes=4", "numerics.batch_norm_parts=2"], "must be a multiple of"),
        (["numerics.batch_norm_parts=3"], "3 numerics.batch_norm_parts can't share its 4 labelled images"),
        (["resources.processes=2", "resources.compile=true"], "can't be compiled"),
    ],
)
def test_what_processes_cannot_share_is_one_line_when_planning(tmp_path: Path, sets: list[str], message: str) -> None:
    with pytest.raises(BenchError) as caught:
        make_cell(tmp_path, {"method": "classmix"}, *sets)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_supervised_cells_share_the_batch_that_they_have(tmp_path: Path) -> None:
    make_cell(tmp_path, {"method": "supervised"}, "resources.processes=8", "schedule.batch.unlabelled=3")


def test_a_method_that_runs_parts_of_its_network_is_refused(tmp_path: Path) -> None:
    cell, group = make_cell(tmp_path, {"method": "supervised"}), Group(0, 2)
    network = build_stepper(cell, CLASSES, CPU, group=group).method.predictor
    image = torch.zeros(2, 3, 32, 32)
    network.eval().backbone(image)  # type: ignore[operator]
    with group.step(), pytest.raises(BenchError, match="runs a part of its network"):
        network.backbone(image)  # type: ignore[operator]
    with group.step(), pytest.raises(BenchError, match="3 images at once"):
        network(torch.zeros(3, 3, 32, 32))
