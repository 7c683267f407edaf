"""CamVid: classes, colours, and a dataset that is not CamVid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.errors import BenchError
from datasets.base import DatasetConfig
from datasets.camvid import COLOURS, CamVid
from tests.datasets.made import CLASSES, labels, make_voc


def test_a_dataset_in_its_layout(tmp_path: Path) -> None:
    dataset = CamVid(DatasetConfig(size=(6, 8)), make_voc(tmp_path, classes=tuple(COLOURS), suffix=".jpg"))
    assert dataset.check().problems == []
    assert dataset.image("a").shape == (6, 8, 3)
    assert np.array_equal(dataset.mask("a"), labels("a")[1::2, 1::2])
    assert dataset.ids("train") == ("b", "a", "c")


def test_classes_and_colours(tmp_path: Path) -> None:
    dataset = CamVid(DatasetConfig(), make_voc(tmp_path, classes=tuple(COLOURS)))
    assert len(dataset.classes) == len(dataset.palette) == len(set(dataset.palette)) == 11
    assert dict(zip(dataset.classes, dataset.palette, strict=True))["Road"] == (128, 64, 128)
    assert (dataset.classes[0], dataset.classes[-1]) == ("Sky", "Bicyclist")
    assert dataset.few_labels_min_classes == 8
    assert dataset.high_quality is None


def test_other_classes_are_refused(tmp_path: Path) -> None:
    dataset = CamVid(DatasetConfig(), make_voc(tmp_path, classes=CLASSES))
    with pytest.raises(BenchError, match=r"classes\.txt: not the 11 classes of CamVid"):
        _ = dataset.classes
    assert any("not the 11 classes" in problem for problem in dataset.check().problems)


def test_registered() -> None:
    assert registry.get("dataset", "camvid") is CamVid
    assert CamVid.needs_root
