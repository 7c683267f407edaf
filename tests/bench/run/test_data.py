"""A run is of the data and the code that it was planned with, from its first step to its result."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from bench.files import read_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.spec.cell import _identity_text
from bench.store.cells import data_of
from bench.store.job import Job
from bench.store.run import Run, State
from bench.train.loop import Progress, Trainer
from datasets.synthetic import Counts, Synthetic, SyntheticConfig
from tests.conftest import GRID


@pytest.fixture
def data(tmp_path: Path) -> Path:
    config = SyntheticConfig(image_size=32, counts=Counts(train=8, val=2, test=1))
    Synthetic.prepare(config, tmp_path / "drawn", None)
    shutil.move(tmp_path / "drawn" / config.folder, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def job(tmp_path: Path, data: Path) -> Job:
    content = yaml.safe_load(GRID)
    content["recipe"]["dataset"] = "folder"
    content["recipe"]["schedule"]["iterations"] = 2
    content["resources"] = {"threads": 1, "device": "cpu"}
    path = tmp_path / "g.yaml"
    path.write_text(yaml.safe_dump(content))
    request = Request(str(path), (), (f"folder={data}",), tmp_path / "store")
    plan = make_plan(request)
    return make_jobs(plan, plan.cells, request, retry=False)[0][0]


def of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


def test_a_run_records_what_its_data_contained(job: Job) -> None:
    assert run_cell(job) is State.DONE
    recorded = read_json(of(job).result)["data_sha256"]
    assert len(recorded) == 64 and recorded == data_of(of(job))
    assert (Path(job.store) / ".data" / f"{recorded}.json").is_file()


def test_data_that_changed_before_the_run_fail_it(job: Job, data: Path) -> None:
    Image.new("RGB", (32, 32)).save(data / "JPEGImages" / "train_00003.png")
    assert run_cell(job) is State.FAILED
    reason = of(job).read_state()["reason"]
    assert reason is not None and "changed since the run was planned: train: 1 image changed (train_00003)" in reason
    assert not of(job).result.exists()


def test_data_that_change_during_the_run_fail_it(job: Job, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Trainer.train

    def meddling(self: Trainer) -> Progress:
        progress = train(self)
        (data / "SegmentationClass" / "val_00001.png").unlink()
        return progress

    monkeypatch.setattr(Trainer, "train", meddling)
    assert run_cell(job) is State.FAILED
    assert "val: 1 mask changed (val_00001)" in str(of(job).read_state()["reason"])
    assert not of(job).result.exists()


def test_a_cell_of_other_code_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.supervised import Supervised

    monkeypatch.setattr(Supervised, "version", 99)
    _identity_text.cache_clear()  # as in a new process
    assert run_cell(job) is State.FAILED
    assert "the code or a file of weights changed since the run was planned" in str(of(job).read_state()["reason"])
    _identity_text.cache_clear()
