"""The memory of evaluations: predicted without memory, measured on real images, and which batch is the largest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bench import kernels
from bench.cli.memory import advice, describe, predictions
from bench.cost import scored as scored_module
from bench.cost.predict import Prediction, _measure_fake, predict_step
from bench.cost.scored import Scored, scored_by
from bench.data.roots import DataRoots, open_dataset
from bench.data.sizes import image_sizes, largest_image
from bench.plan.cells import Plan
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.run.worker import run_cell
from bench.spec.sections import Evaluation
from bench.store.run import Run, State
from bench.train.build import build_method
from bench.train.evaluate import BATCH_PIXELS, evaluate
from bench.train.tensor_bytes import TensorBytes

CLASSES = 20
SMALL, LARGE = (40, 48), (411, 620)
RECIPE: dict[str, Any] = {
    "dataset": {"name": "folder"},
    "network": {"name": "deeplabv3plus", "backbone": "tiny"},
    "augmentation": {"reco": {"crop_size": 32}},
    "schedule": {"iterations": 2, "batch": {"labelled": 2, "unlabelled": 2}},
    "protocol": {"few_labels": 4},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve small training images, val with one large image among small ones; train's last two are large as well."""
    draw, root = np.random.default_rng(0), tmp_path / "data"
    lists = {"train": [SMALL] * 10 + [(500, 700)] * 2, "val": [SMALL, LARGE, SMALL], "test": [(30, 30)]}
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for split, sizes in lists.items():
        ids = [f"{split}{i}" for i in range(len(sizes))]
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(ids))
        for image_id, (height, width) in zip(ids, sizes, strict=True):
            image = draw.integers(0, 256, (height, width, 3)).astype(np.uint8)
            Image.fromarray(image).save(root / f"JPEGImages/{image_id}.png")
            mask = np.full((height, width), int(image_id[-1]), np.uint8)
            Image.fromarray(mask).save(root / f"SegmentationClass/{image_id}.png")
    (root / "classes.txt").write_text("\n".join(f"c{i}" for i in range(CLASSES)))
    return root


def plan(data: Path, **evaluation: Any) -> tuple[Plan, Request]:
    folder = data.parent
    resources = {"threads": 1, "device": "cpu"}
    (folder / "g.yaml").write_text(
        yaml.safe_dump({"recipe": RECIPE | {"evaluation": evaluation}, "resources": resources})
    )
    request = Request(str(folder / "g.yaml"), (), (f"folder={data}",), folder / "store")
    return plan_and_keep(request)[0], request


def scored(data: Path, **evaluation: Any) -> list[Scored]:
    planned, request = plan(data, **evaluation)
    cell = planned.cells[0].cell
    return scored_by(cell, open_dataset(cell.dataset, DataRoots.parse(request.data)), request.store)


def test_the_largest_batch_is_of_the_images_that_are_scored(data: Path) -> None:
    """One large image among small ones is a batch by itself; held-out images and other splits count as well."""
    dataset = open_dataset(plan(data)[0].cells[0].cell.dataset, DataRoots((("folder", data),)))
    assert Counter(image_sizes(dataset, "train").values()) == {SMALL: 10, (500, 700): 2}
    assert largest_image(dataset, "val") == LARGE
    (own,) = scored(data)
    assert (own.split, own.size, own.images, own.spare) == ("val", LARGE, 1, False)
    also = [{"split": "test"}, {"split": "train", "mode": "sliding", "size": [64, 64]}]
    found = scored(data, also=also)
    assert [(one.split, one.size, one.images, one.spare) for one in found] == [
        ("val", LARGE, 1, False),
        ("test", (30, 30), 1, True),
        ("train", (500, 700), 2, True),
    ]
    assert [one.evaluation.mode for one in found] == ["whole", "whole", "sliding"]
    held = scored(data, select_on="holdout", holdout=2)[1]
    assert held.split == "holdout" and held.size in (SMALL, (500, 700)) and held.images <= 2


def test_a_prepared_size_is_taken_without_opening_files(data: Path) -> None:
    part = plan(data)[0].cells[0].cell.dataset
    dataset = part.cls(part.config.model_copy(update={"size": (96, 120)}), data)
    (data / "JPEGImages/val1.png").unlink()
    assert set(image_sizes(dataset, "val").values()) == {(96, 120)}


@pytest.mark.parametrize(
    "evaluation",
    [
        Evaluation(),
        Evaluation(mode="sliding", size=(200, 240)),
        Evaluation(mode="padded", size=(448, 640), boundary=True),
    ],
)
def test_prediction_is_what_an_evaluation_of_real_images_takes(data: Path, evaluation: Evaluation) -> None:
    cell = plan(data)[0].cells[0].cell
    predicted = predict_step(cell, CLASSES, [Scored(evaluation, "val", LARGE, 2)])
    method = build_method(cell, CLASSES).to(memory_format=torch.channels_last)
    draw = np.random.default_rng(0)
    samples = [(draw.integers(0, 256, (*LARGE, 3)).astype(np.uint8), np.zeros(LARGE, np.uint8)) for _ in range(2)]
    with kernels.assuming("cuda"), TensorBytes(method.parameters(), method.buffers()) as alive:
        score = evaluate(method.predictor, samples, CLASSES, evaluation, torch.device("cpu"))
    with kernels.assuming("cuda"):  # the meter only looks
        assert evaluate(method.predictor, samples, CLASSES, evaluation, torch.device("cpu")) == score
    state = sum(p.nbytes for p in method.parameters())  # of the optimizer: momentum
    assert predicted["evaluation_bytes"] == pytest.approx(alive.peak + state, rel=0.02)
    assert predicted["peak_memory_bytes"] == max(predicted["training_bytes"], predicted["evaluation_bytes"])
    assert predicted["phases"]["evaluation"] == predicted["evaluation_bytes"] < predicted["reserved_bytes"]


def test_many_classes_hardly_add_to_a_large_image(data: Path) -> None:
    """All scores of 150 classes at 2,000 x 2,000 would be 2.4 GB an image."""
    cell = plan(data)[0].cells[0].cell
    few, many = (_measure_fake(cell, k, [Scored(Evaluation(), "val", (2000, 2000), 1)])[2][0] for k in (20, 150))
    assert many < few + 2 * 150 * 500 * 500 * 4
    assert BATCH_PIXELS // (2000 * 2000) == 2


def test_a_run_measures_what_was_predicted_and_plan_advises_a_window(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored_module, "WINDOW", 64)
    planned, request = plan(data)
    found = predictions(planned, request, 0.001, quiet=True)
    cell = planned.cells[0].cell
    predicted, text = found[cell.id], describe(found[cell.id])
    assert "evaluation" in text and "(1 image of 411×620, whole)" in text and "ABOVE" in text
    (line,) = advice(planned, found)
    assert "evaluation: {mode: sliding, size: [64, 64]}" in line
    assert predicted["window_bytes"] < predicted["evaluation_bytes"] / 2
    from bench.plan.jobs import make_jobs

    (job,), _ = make_jobs(planned, planned.cells, request, retry=False)
    assert run_cell(job) is State.DONE
    run = Run(request.store / cell.id)
    cost, memory = (yaml.safe_load(path.read_text()) for path in (run.cost, run.memory))
    assert cost["peak_memory_phase"] == "evaluation"
    assert cost["peak_memory_bytes"] == memory["phases"]["evaluation"]
    assert cost["peak_memory_bytes"] == pytest.approx(predicted["evaluation_bytes"], rel=0.1)
    assert {"student", "backward", "optimizer"} <= memory["phases"].keys()


def test_no_window_is_advised_where_training_or_a_window_takes_most(data: Path) -> None:
    planned, request = plan(data, mode="sliding", size=[128, 128])
    assert not list(advice(planned, predictions(planned, request, None, quiet=True)))
    small, _ = plan(data)
    equal: Prediction = {"evaluation_bytes": 5, "window": (512, 512), "window_bytes": 5}
    assert not list(advice(small, {small.cells[0].cell.id: equal}))
