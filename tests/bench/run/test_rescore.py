"""Further evaluations of a trained run: right by brute force, beside the result, never instead of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from typer.testing import CliRunner

from bench import registry
from bench.cli import reports
from bench.cli.app import app
from bench.errors import BenchError
from bench.files import read_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.hooks import Hooks
from bench.run.worker import run_cell
from bench.spec.sections import Evaluation, OtherEvaluation
from bench.store.cells import read_cell
from bench.store.evaluations import file_of, find, read
from bench.store.job import Job
from bench.store.run import Run, State
from bench.train import checkpoint
from bench.train.build import build_method
from bench.train.evaluate import Sample
from tests.conftest import GRID

ALSO = [{"split": "test"}, {"mode": "sliding", "size": [24, 24], "stride": [12, 16]}, {"split": "holdout"}]
FILES = {f"{name}-{weights}.json" for name in ("test", "val-sliding-24x24-12x16", "holdout") for weights in
         ("last", "best", "selected")}  # fmt: skip


def plan(folder: Path, also: list[Any]) -> tuple[Request, list[Job]]:
    """Plan two seeds of one method, in a store of their own."""
    content = yaml.safe_load(GRID)
    content["recipe"]["evaluation"] = {"every": 3, "select_on": "holdout", "holdout": 1, "also": also}
    content["axes"]["seed"] = [0, 1]
    content["resources"] = {"threads": 1, "device": "cpu"}
    folder.mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(folder / "grid.yaml"), (), (), folder / "store")
    made = make_plan(request)
    return request, make_jobs(made, made.cells, request, retry=False)[0]


def run_of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs, the second one without further evaluations."""
    folder = tmp_path_factory.mktemp("rescore") / "a"
    _, jobs = plan(folder, ALSO)
    assert run_cell(jobs[0]) is State.DONE
    cell = read_json(run_of(jobs[1]).cell)
    cell["spec"]["evaluation"]["also"] = []
    run_of(jobs[1]).cell.write_text(json.dumps(cell))
    assert run_cell(jobs[1]) is State.DONE
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> list[Run]:
    """A copy of these runs, to do with as a test likes."""
    shutil.copytree(trained, tmp_path / "a")
    return [Run(path.parent) for path in sorted((tmp_path / "a" / "store").glob("*/cell.json"))]


def miou_by_hand(run: Run, which: str, split: Any) -> float:
    """Score with numpy: IoU per class over all pixels of a split but void, mean over the classes that occur."""
    predictor = build_method(read_cell(run), 3).predictor
    predictor.load_state_dict(checkpoint.load(run.weights(which)))
    predictor.eval()
    cls = registry.get("dataset", "toy")
    toy, truth, predicted = cls(cls.Config(), Path()), [], []
    for image_id in toy.ids(split):
        image = torch.from_numpy(toy.image(image_id)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            scores = F.interpolate(predictor(image), (40, 40), mode="bilinear", align_corners=True)
        truth.append(toy.mask(image_id))
        predicted.append(scores.argmax(1)[0].numpy())
    label, guess = np.array(truth), np.array(predicted)
    valid = label != 255
    ious = []
    for index in range(3):
        hit = ((label == index) & (guess == index) & valid).sum()
        either = (((label == index) | (guess == index)) & valid).sum()
        ious += [100 * hit / either] if either else []
    return float(np.mean(ious))


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_one_training_several_evaluations(runs: list[Run]) -> None:
    run, result = runs[0], read_json(runs[0].result)
    assert {path.name for path in run.evaluations.iterdir()} == FILES and not runs[1].evaluations.exists()
    for which in ("last", "best", "selected"):
        entry = read(run.evaluations / f"test-{which}.json")
        assert entry is not None
        assert entry.miou == pytest.approx(miou_by_hand(run, which, "test"), abs=1e-3)
        assert entry.weights_sha256 == checkpoint.digest(checkpoint.load(run.weights(which)))
        assert (entry.step, entry.images, entry.split) == (result[which]["step"], 2, "test")
        assert entry.evaluation == "whole image, original size, test"
        assert entry.environment["device"] == "cpu" and "git_sha" in entry.environment
        held = read(run.evaluations / f"holdout-{which}.json")
        assert held is not None and held.images == 1 and held.miou == result[which]["holdout_miou"]
    slid = read(run.evaluations / "val-sliding-24x24-12x16-last.json")
    assert slid is not None and slid.miou != result["last"]["miou"]
    assert (slid.mode, slid.size, slid.stride) == ("sliding", (24, 24), (12, 16))


def test_they_identify_nothing_and_change_no_result(tmp_path: Path, runs: list[Run]) -> None:
    _, plain = plan(tmp_path / "plain", [])
    assert [job.cell_id for job in plain] == sorted(run.id for run in runs)
    assert run_cell(plain[0]) is State.DONE
    for name in ("result.json", "metrics.jsonl", "weights-selected.pt"):
        assert (run_of(plain[0]).path / name).read_bytes() == (runs[0].path / name).read_bytes()


def test_the_same_again_is_compared_and_stays(runs: list[Run]) -> None:
    run, store = runs[0], ("--store", str(runs[0].path.parent))
    result, path = run.result.read_bytes(), run.evaluations / "test-last.json"
    before = path.read_bytes()
    again = invoke("evaluate", run.id, "--split", "test", *store, "--json")
    assert again.exit_code == 0, again.output
    facts = json.loads(again.stdout)
    assert (facts["kept"], facts["miou"]) == ("same", facts["recorded_miou"]) and path.read_bytes() == before
    entry = read_json(path)
    path.write_text(json.dumps({**entry, "miou": entry["miou"] - 1}))
    differs = invoke("evaluate", run.id, "--split", "test", *store)
    assert differs.exit_code == 1 and "which stays" in differs.stdout
    assert read_json(path)["miou"] == entry["miou"] - 1
    path.write_text(json.dumps({**entry, "weights_sha256": "0" * 64}))
    assert json.loads(invoke("evaluate", run.id, "--split", "test", *store, "--json").stdout)["kept"] == "replaced"
    assert read_json(path)["weights_sha256"] == entry["weights_sha256"]
    train = invoke("evaluate", run.id, "--split", "train", "--select", "best", *store, "--json")
    assert json.loads(train.stdout)["miou"] == pytest.approx(miou_by_hand(run, "best", "train"), abs=1e-3)
    own = invoke("evaluate", run.id, "--split", "val", "--mode", "whole", *store, "--json")
    assert json.loads(own.stdout)["recorded_miou"] == read_json(run.result)["last"]["miou"]
    assert not list(run.evaluations.glob("val-whole*")) and run.result.read_bytes() == result


def test_tables_of_another_evaluation(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "disable_gc", lambda: None)
    folder = runs[0].path.parent.parent
    grid, store = str(folder / "grid.yaml"), ("--store", str(folder / "store"))
    plan_again = Request(grid, (), (), folder / "store")
    make_plan(plan_again)

    def cell(*options: str) -> tuple[dict[str, Any], Any]:
        table = json.loads(invoke("table", grid, *store, "--json", *options).stdout)
        return table["sections"][0]["cells"][0], table

    first = read(runs[0].evaluations / "test-last.json")
    assert first is not None
    some, table = cell("--split", "test")
    assert some["last"]["values"] == [round(first.miou, 4)] and some["states"] == {"pending": 1}
    command = f"python bench.py evaluate {runs[1].id} --split test"
    assert table["warnings"] == [
        "1 of 2 finished runs have no such evaluation; make each with its id, or all with the grid's name: " + command
    ]
    assert table["unfinished"][0]["status"] == f"pending: not evaluated so: {command}"
    assert any("Evaluation: whole image, original size, test." in note for note in table["notes"])
    made = invoke("evaluate", grid, "--split", "test", *store, "--json")
    assert [entry["kept"] for entry in json.loads(made.stdout)] == ["same", "new"]
    both, table = cell("--split", "test")
    assert both["last"]["n"] == 2 and not table["warnings"] and both["best"]["n"] == 1
    assert cell("--split", "val")[0] == cell()[0]  # the runs' own
    slid = read(runs[0].evaluations / "val-sliding-24x24-12x16-last.json")
    assert slid is not None
    options = ("--mode", "sliding", "--size", "24", "24", "--stride", "12", "16")
    assert cell(*options)[0]["last"]["values"] == [round(slid.miou, 4)]
    (runs[0].evaluations / "test-last.json").write_text("{")
    assert "test-last.json: damaged (not JSON" in cell("--split", "test")[1]["unfinished"][0]["status"]
    assert "leave one of them out" in str(invoke("table", grid, *store, "--runs", "--split", "test").exception)


def test_a_stop_among_them_costs_only_what_was_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (job, _) = plan(tmp_path / "stopped", ALSO)
    run, original = run_of(job), Hooks.until_stopped

    def until_stopped(self: Hooks, samples: Any) -> Any:
        if (run.evaluations / "test-last.json").exists():
            os.kill(os.getpid(), signal.SIGUSR2)
        return original(self, samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hooks, "until_stopped", until_stopped)
        assert run_cell(job) is State.PREEMPTED
    assert run.read_state()["step"] == 8 and not run.result.exists()
    first = (run.evaluations / "test-last.json").read_bytes()
    assert run_cell(job) is State.DONE
    assert {path.name for path in run.evaluations.iterdir()} == FILES
    assert (run.evaluations / "test-last.json").read_bytes() == first


def out_of_memory(samples: Any) -> Sample:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize(
    ("also", "watch", "message"),
    [
        ({"mode": "padded", "size": [8, 8]}, None, "not made: evaluation.size: an image of 40×40 is larger than 8×8"),
        ({"split": "test"}, out_of_memory, "not made: OutOfMemoryError: CUDA out of memory"),
    ],
)
def test_one_that_cannot_be_made_costs_no_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    also: Any,
    watch: Callable[[Any], Any] | None,
    message: str,
) -> None:
    _, (job, _) = plan(tmp_path / "a", [also])
    if watch is not None:
        monkeypatch.setattr("bench.train.reevaluate.evaluate", lambda *_: watch(None))
    assert run_cell(job) is State.DONE
    assert message in capsys.readouterr().out
    assert not run_of(job).evaluations.exists()


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ([{"mode": "sliding"}], "evaluation: also.0: mode 'sliding' needs a size"),
        ([{"split": "test"}, {"stride": [3, 3]}], "evaluation: also.1: stride is for mode 'sliding'"),
        ([{"split": "tset"}], "also.0.split: input should be 'train', 'val', 'test' or 'holdout', not 'tset'"),
    ],
)
def test_nonsense_is_one_line(tmp_path: Path, also: list[Any], message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        plan(tmp_path / "a", also)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_is_the_runs_own(tmp_path: Path, runs: list[Run]) -> None:
    own = Evaluation(mode="sliding", size=(30, 40), stride=(10, 20), batch_size=2)
    assert OtherEvaluation(split="test").of(own) == own
    assert OtherEvaluation(size=(50, 50)).of(own) == Evaluation(mode="sliding", size=(50, 50), batch_size=2)
    assert OtherEvaluation(mode="whole").of(own) == Evaluation(batch_size=2)
    run = Run(tmp_path / "x")
    assert file_of(run, "test", own, own, "best") == tmp_path / "x/evaluations/test-best.json"
    assert file_of(run, "val", Evaluation(), own, "last").name == "val-whole-last.json"
    assert find(runs[0], OtherEvaluation(), "last") is None
    assert find(runs[0], OtherEvaluation(split="val", mode="whole"), "last") is None
    entry = read_json(runs[0].evaluations / "test-last.json")
    (runs[0].evaluations / "test-last.json").write_text(json.dumps({**entry, "cell_id": "other"}))
    with pytest.raises(BenchError, match="it belongs to another run, other"):
        read(runs[0].evaluations / "test-last.json")
