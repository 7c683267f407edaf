"""Prediction on tensors without memory against the same step on real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench import kernels
from bench.cost import predict
from bench.cost.predict import NCCL_BYTES, Predictions, measure_blank_step, needed, predict_step, shape_of
from bench.data.roots import DataRoots
from bench.files import read_json, write_json
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.processes import start
from bench.spec.cell import Cell
from bench.train.group import Group
from bench.train.meters import StepMeter

GRID = """
recipe:
  network: {name: deeplabv3plus, backbone: tiny}
  augmentation: {reco: {crop_size: 32}}
  schedule: {iterations: 2, batch: {labelled: 4, unlabelled: 4}}
axes:
  method: [supervised, classmix, {name: reco, num_queries: 8, num_negatives: 16}]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    folder = tmp_path_factory.mktemp("predict")
    (folder / "small.yaml").write_text(GRID)
    return [p.cell for p in make_plan(Request(str(folder / "small.yaml"), store=folder / "store")).cells]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_prediction_is_what_a_real_step_takes(cells: list[Cell], which: int) -> None:
    torch.set_num_threads(1)
    predicted = predict_step(cells[which], 5)
    with kernels.assuming("cuda"):
        measured, *_ = measure_blank_step(cells[which], 5)
    assert predicted["peak_memory_bytes"] == pytest.approx(measured["peak_memory_bytes"], rel=0.1)
    assert predicted["phases"].keys() == measured["phases"].keys()
    expected = {"data", "student", "loss supervised", "backward", "optimizer"}
    assert expected <= predicted["phases"].keys()


def _take_part(spec: dict[str, Any], rank: int, meeting: str) -> None:
    """Measure a cell's step in one of two processes that compute it together."""
    torch.set_num_threads(1)
    group = Group(rank, 2)
    group.join(Path(meeting), torch.device("cpu"))
    vars(predict)["Rehearsed"] = lambda size: group
    report, *_ = measure_blank_step(Cell.from_spec(spec), 5, processes=2)
    write_json(Path(f"{meeting}-{rank}.json"), report)
    group.leave()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_of_two_processes_it_is_what_each_of_them_takes(cells: list[Cell], tmp_path: Path, which: int) -> None:
    meeting, preload = str(tmp_path / "meeting"), ["torch", "bench.cost.predict", __name__]
    processes = [start(_take_part, (cells[which].spec(), rank, meeting), preload) for rank in range(2)]
    for process in processes:
        process.join()
    together = [read_json(Path(f"{meeting}-{rank}.json")) for rank in range(2)]
    rehearsed, *_ = measure_blank_step(cells[which], 5, processes=2)
    for report in together:
        assert rehearsed["phases"].keys() == report["phases"].keys()
        for phase, size in report["phases"].items():
            assert rehearsed["phases"][phase] == pytest.approx(size, rel=0.01), phase


def test_each_of_two_processes_needs_less_than_one_alone(cells: list[Cell]) -> None:
    alone, shared = predict_step(cells[0], 5), predict_step(cells[0], 5, processes=2)
    assert shared["phases"]["backward"] < alone["phases"]["backward"]  # the optimizer has the gradients in a row
    beside = NCCL_BYTES + needed(shared["reserved_bytes"])
    assert shared["needed_bytes"] == beside
    assert shape_of(cells[0], 5) != shape_of(cells[0], 5, processes=2)


def test_each_process_may_have_one_image(cells: list[Cell]) -> None:
    report, *_ = measure_blank_step(cells[1], 5, processes=4)
    assert report["peak_memory_bytes"] > 0


def test_a_measured_step_changes_no_bit(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.cost.predict as module
    from bench.train.build import build_method

    states = []
    for measured in (True, False):
        made: list[Any] = []
        monkeypatch.setattr(module, "build_method", lambda *a, made=made: made.append(build_method(*a)) or made[0])
        if not measured:
            monkeypatch.setattr(StepMeter, "__enter__", lambda self: self)
            monkeypatch.setattr(StepMeter, "__exit__", lambda self, *error: None)
            monkeypatch.setattr(StepMeter, "report", lambda self: {})
        measure_blank_step(cells[1], 5)
        states.append(made[0].state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_one_prediction_per_shape_is_kept(cells: list[Cell], tmp_path: Path) -> None:
    predictions = Predictions(tmp_path, DataRoots())
    first = predictions.of(cells[0])
    assert predictions.of(cells[0]) == first
    assert len(list((tmp_path / ".cache" / "predictions").iterdir())) == 1


def test_what_cannot_be_predicted_says_why(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells[0].method.cls, "losses", lambda self, batch: {"x": float(batch.labelled.image.sum())})
    assert "error" in predict_step(cells[0], 5)
