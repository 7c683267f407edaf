"""Numbers that can't be meant are refused when a grid is planned, in one line with their key; usual ones never are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.bounds import LARGEST_SEED
from bench.errors import BenchError
from bench.plan.cells import Plan, resolve_grid
from bench.plan.request import Request
from bench.spec.grid import expand, read_grid

HOPELESS = [
    ("resources.threads=1000000", "resources.threads: input should be less than or equal to 4096, not 1000000"),
    ("resources.loader_threads=5000", "resources.loader_threads: input should be less than or equal to 4096"),
    ("resources.prefetch=1000000000", "resources.prefetch: input should be less than or equal to 1024"),
    ("resources.checkpoint_seconds=1e300", "resources.checkpoint_seconds: "),
    ("schedule.batch.labelled=100000", "schedule.batch.labelled: input should be less than or equal to 65536"),
    ("schedule.iterations=18446744073709551615", "schedule.iterations: "),
    ("schedule.epochs=1e30", "schedule.epochs: "),
    ("optimizer.lr=1e308", "optimizer.lr: "),
    ("optimizer.lr=20000", "optimizer.lr: input should be less than or equal to 10000, not 20000"),
    ("optimizer.weight_decay=1e9", "optimizer.weight_decay: "),
    ("optimizer.clip_norm=1e30", "optimizer.clip_norm: at most 1e+12 can be meant, not 1e+30"),
    ("augmentation.crop_size=100000", "augmentation.crop_size.0: input should be less than or equal to 16384"),
    ("augmentation.crop_size=[32,100000]", "augmentation.crop_size.1: "),
    ("augmentation.scale=[1,1000000000000000000]", "augmentation.scale: at most 1e+12 can be meant"),
    ("augmentation.scale=[1,1000]", "augmentation.scale.1: input should be less than or equal to 20"),
    ("augmentation.scale=[1e-9,1]", "augmentation.scale.0: input should be greater than or equal to 0.01"),
    ("augmentation.blur_sigma=[1,1e6]", "augmentation.blur_sigma.1: "),
    ("dataset.size=[1,1]", "dataset.size.0: input should be greater than or equal to 2, not 1"),
    ("dataset.size=[-1,-1]", "dataset.size.1: input should be greater than or equal to 2, not -1"),
    ("dataset.size=[40,1000000]", "dataset.size.1: "),
    ("evaluation={mode: sliding, size: [1, 1]}", "evaluation.size.0: "),
    ("evaluation={mode: padded, size: [30, 64]}", "evaluation.size: images of val have up to 40×40 pixels, more than "),
    ("evaluation={mode: padded, size: [40, 40000]}", "evaluation.size.1: "),
    ("evaluation.batch_size=1000000", "evaluation.batch_size: "),
    ("seed=18446744073709551616", "--set seed, line 1: 18446744073709551616 is beyond 64 bits"),
    ("seed=[1000000000000000000000000000000]", "--set seed, line 1: 0: 1000000000000000000000000000000 is beyond 64"),
    ("seed=1e30", "seeds.split: "),
    ("seeds.init=-1", "seeds.init: input should be greater than or equal to 0, not -1"),
    ("method.weight=1", "method.weight: unknown key"),
    (
        "method={name: mean_teacher, unsupervised_weight: 1e30}",
        "method.unsupervised_weight: at most 1e+12 can be meant",
    ),
    ("protocol={few_labels: 1000000000000000}", "protocol.labels: at most 1e+12 can be meant"),
]


def planned(grid: Path, *sets: str) -> Plan:
    return resolve_grid(Request(str(grid), sets=sets))


@pytest.mark.parametrize(("setting", "message"), HOPELESS, ids=[setting for setting, _ in HOPELESS])
def test_a_number_that_can_not_be_meant_is_one_line_with_its_key(grid_file: Path, setting: str, message: str) -> None:
    with pytest.raises(BenchError) as error:
        planned(grid_file, setting)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# Far beyond what papers have, and still taken.
UNUSUAL = [
    "resources.threads=256",
    "resources.prefetch=512",
    "schedule.batch={labelled: 4096, unlabelled: 4096}",
    "schedule.iterations=100000000",
    "optimizer.lr=100",
    "optimizer.clip_norm=1e10",
    "augmentation.crop_size=8192",
    "augmentation.scale=[0.1,8]",
    "dataset.size=[8,8192]",
    "evaluation={mode: sliding, size: [2048, 2048], stride: [1, 1]}",
    "evaluation={mode: padded, size: [40, 40], also: [{split: test, size: [64, 40]}]}",
    f"seed={LARGEST_SEED}",
]


@pytest.mark.parametrize("setting", UNUSUAL)
def test_unusual_numbers_are_taken(grid_file: Path, setting: str) -> None:
    assert len(planned(grid_file, setting).cells) == 1


def test_images_that_are_held_out_must_fit_too(grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = "evaluation={mode: padded, size: [40, 40], select_on: holdout, holdout: 2}"
    assert planned(grid_file, held).cells
    monkeypatch.setattr(
        registry.get("dataset", "toy"), "image", lambda self, i: np.zeros((40, 41 if "train" in i else 40, 3), np.uint8)
    )
    with pytest.raises(BenchError, match=r"evaluation\.size: images of holdout have up to 40×41 pixels"):
        planned(grid_file, held, "dataset.data=another")


def test_batches_that_hold_each_image_many_times_are_said(grid_file: Path) -> None:
    """Sampling gives any batch, by going through the images again: that is slow where it wasn't meant, and no error."""
    (line,) = planned(grid_file, "protocol=full", "schedule.batch.labelled=2000").warnings
    assert line == "schedule.batch.labelled: each step has 2,000 images of 24, so each of them 83 times or more (full)"
    assert planned(grid_file, "schedule.batch.labelled=80").warnings == []  # 4 images, 20 times each
    assert planned(grid_file, "schedule.batch.unlabelled=2000").warnings == []  # supervised runs have none
    (line,) = planned(grid_file, "method=mean_teacher", "schedule.batch.unlabelled=2000").warnings
    assert line.startswith("schedule.batch.unlabelled: each step has 2,000 images of 20")


def test_axes_have_a_bounded_product(tmp_path: Path) -> None:
    path, values = tmp_path / "g.yaml", list(range(1, 1001))
    path.write_text(f"axes: {{seed: {values}, optimizer.lr: {values}, schedule.iterations: {values}}}\n")
    with pytest.raises(BenchError, match=r"axes: more than 1,000,000 combinations of their values$"):
        next(expand(read_grid(path), str(path), {}))
    two = "".join(f"  optimizer.x{i}: [1, 2]\n" for i in range(5000))  # a product of 1505 digits
    path.write_text(f"axes:\n{two}")
    with pytest.raises(BenchError, match="more than 1,000,000 combinations"):
        next(expand(read_grid(path), str(path), {}))
