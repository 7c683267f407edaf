"""Classes that are left out of the mean: planned, trained, evaluated again and put into tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.errors import BenchError
from bench.files import read_json, read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.run.worker import run_cell
from bench.spec.facts import IGNORED, facts
from bench.store.confusion import read_confusion
from bench.store.evaluations import read
from bench.store.run import Run, State
from tests.bench.run.test_rescore import invoke
from tests.conftest import GRID


def planned(folder: Path, **evaluation: Any) -> Any:
    content = yaml.safe_load(GRID)
    content["recipe"]["evaluation"] |= evaluation
    content["resources"] = {"threads": 1, "device": "cpu"}
    folder.mkdir(exist_ok=True)
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(folder / "grid.yaml"), (), (), folder / "store")
    return plan_and_keep(request)[0], request


def cell_id(folder: Path, **evaluation: Any) -> str:
    return str(planned(folder, **evaluation)[0].cells[0].cell.id)


def test_they_are_part_of_the_id_in_any_order_and_their_absence_is_not(tmp_path: Path) -> None:
    plain = cell_id(tmp_path)
    assert cell_id(tmp_path, ignore_classes=[]) == plain
    both, dark = (cell_id(tmp_path, ignore_classes=names) for names in (["dark", "ground"], ["dark"]))
    assert both == cell_id(tmp_path, ignore_classes=["ground", "dark"]) and len({both, dark, plain}) == 3
    assert cell_id(tmp_path, also=[{"ignore_classes": ["dark"]}]) == plain
    cell = planned(tmp_path, ignore_classes=["dark", "ground"])[0].cells[0].cell
    assert facts(cell)[IGNORED] == "dark, ground" and IGNORED not in facts(planned(tmp_path)[0].cells[0].cell)


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        (
            {"ignore_classes": ["grund"]},
            r"evaluation.ignore_classes: unknown class 'grund' \(did you mean 'ground'\?\); allowed",
        ),
        ({"ignore_classes": ["ground", "bright", "dark"]}, "all 3 classes are ignored; at least one must be left"),
        ({"ignore_classes": ["dark", "dark"]}, "a class is named twice"),
        ({"also": [{"ignore_classes": ["sky"]}]}, r"evaluation.also.0.ignore_classes: unknown class 'sky'"),
    ],
)
def test_names_are_checked_when_planned(tmp_path: Path, evaluation: Any, words: str) -> None:
    with pytest.raises(BenchError, match=words):
        planned(tmp_path, **evaluation)


def by_hand(run: Run, which: str, kept: list[int]) -> float:
    """Score from the matrices that the run keeps: hit / (row + column − hit), mean over the classes."""
    found = read_confusion(run, which)
    assert found is not None
    matrix = found.matrices().sum(0).astype(float)
    ious = [matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in kept]
    return float(100 * np.mean(ious))


def test_a_run_its_evaluations_and_its_table_leave_them_out(tmp_path: Path) -> None:
    plan, request = planned(tmp_path, ignore_classes=["ground"], also=[{"ignore_classes": []}, {"split": "test"}])
    (job,), _ = make_jobs(plan, plan.cells, request, retry=False)
    assert run_cell(job) is State.DONE
    run = Run(request.store / job.cell_id)
    result = read_json(run.result)
    assert result["ignore_classes"] == ["ground"] and result["evaluation"].endswith("val, without ground")
    assert result["last"]["miou"] == pytest.approx(by_hand(run, "last", [1, 2]))
    assert result["last"]["iou"][0] is not None
    evaluations = [row["eval"]["miou"] for row in read_jsonl(run.metrics) if "eval" in row]
    assert result["best"]["miou"] == max(evaluations)
    every, test = read(run.evaluations / "val-all-classes-last.json"), read(run.evaluations / "test-last.json")
    assert every is not None and test is not None
    assert every.miou == pytest.approx(by_hand(run, "last", [0, 1, 2])) and every.ignore_classes == []
    assert test.ignore_classes == ["ground"] and test.evaluation == "whole image, original size, test, without ground"
    store = ("--store", str(request.store))
    again = json.loads(invoke("evaluate", run.id, *store, "--json").stdout)
    assert again["miou"] == again["recorded_miou"]
    dark = invoke("evaluate", run.id, "--ignore-classes", "ground,dark", *store)
    assert "mIoU without dark, ground" in dark.stdout and dark.exit_code == 0
    assert [path.name[:23] for path in run.evaluations.glob("val-without*")] == ["val-without-dark-ground"]
    for options, name, value in (
        ((), "mIoU without ground", result["last"]["miou"]),
        (("--ignore-classes", ""), "mIoU in", every.miou),
        (("--ignore-classes", "dark, ground"), "mIoU without dark, ground", by_hand(run, "last", [1])),
        (("--split", "test"), "mIoU without ground", test.miou),
    ):
        table = json.loads(invoke("table", request.grid, *store, "--json", *options).stdout)
        assert name in table["sections"][0]["title"]
        assert table["sections"][0]["cells"][0]["last"]["values"] == [pytest.approx(value, abs=1e-3)]
