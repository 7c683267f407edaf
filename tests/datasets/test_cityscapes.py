"""Cityscapes from small archives in the official layout: label ids to train ids, sizes, and what must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Cityscapes as TorchvisionCityscapes

from bench import registry
from bench.errors import BenchError
from datasets.cityscapes import Cityscapes, CityscapesConfig
from tests.datasets.archived import (
    CITIES,
    city_labels,
    cityscapes_files,
    contents,
    encoded,
    picture,
    write_tree,
    write_zip,
)
from tests.datasets.made import presence

SMALL = (16, 32)
FULL = CityscapesConfig(size=None)
TRAIN = tuple(name for _, name in CITIES["train"])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cityscapes, "published", {split: len(pairs) for split, pairs in CITIES.items()})


@pytest.fixture(params=["archives", "trees"])
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    images, masks = cityscapes_files()
    if request.param == "trees":
        write_tree(tmp_path / "from", {**images, **masks})
    else:
        write_zip(tmp_path / "from" / "leftImg8bit_trainvaltest.zip", images)
        write_zip(tmp_path / "from" / "gtFine_trainvaltest.zip", masks)
    return tmp_path / "from"


def tree(folder: Path) -> Path:
    images, masks = cityscapes_files()
    write_tree(folder, {**images, **masks})
    return folder


def train_ids(labels: Any) -> Any:
    """Map label ids to train ids with torchvision's table of cityscapesScripts' labels."""
    mapped = np.full_like(labels, 77)
    for label in TorchvisionCityscapes.classes:
        if label.id >= 0:
            mapped[labels == label.id] = 255 if label.ignore_in_eval else label.train_id
    return mapped


def prepared(root: Path, source: Path, config: CityscapesConfig) -> Cityscapes:
    Cityscapes.prepare(config, root, source)
    return Cityscapes(config, root)


def test_full_size(tmp_path: Path, source: Path) -> None:
    before = contents(source)
    dataset = prepared(tmp_path / "out", source, FULL)
    assert contents(source) == before
    assert dataset.ids("train") == TRAIN and dataset.ids("val") == ("munster_000000_000019",)
    for image_id in (*TRAIN, "munster_000000_000019"):
        np.testing.assert_array_equal(dataset.image(image_id), picture(image_id, 40, 80))
        np.testing.assert_array_equal(dataset.mask(image_id), train_ids(city_labels(image_id)))
    assert presence(dataset)[TRAIN[0]] == frozenset(np.unique(train_ids(city_labels(TRAIN[0]))).tolist()) - {255}
    report = dataset.check()
    assert report.problems == [] and report.counts == {"train": 3, "val": 1} and report.sizes == {"80x40": 4}
    assert len(list((dataset.root / "SegmentationClass").iterdir())) == 4  # the test split has no masks


def test_a_size_at_preparation_gives_the_pixels_of_a_size_at_reading(tmp_path: Path, source: Path) -> None:
    config = CityscapesConfig(size=SMALL)
    stored = prepared(tmp_path / "stored", source, config)
    whole = prepared(tmp_path / "whole", source, FULL).root
    read = Cityscapes(config, whole)
    for image_id in TRAIN:
        with Image.open(stored.image_path(image_id)) as image:
            assert image.size == (32, 16)
        np.testing.assert_array_equal(stored.image(image_id), read.image(image_id))
        np.testing.assert_array_equal(stored.mask(image_id), read.mask(image_id))
        expected = Image.fromarray(picture(image_id, 40, 80)).resize((32, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(stored.image(image_id), np.asarray(expected))
        nearest = Image.fromarray(train_ids(city_labels(image_id))).resize((32, 16), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(stored.mask(image_id), np.asarray(nearest))
    assert presence(stored) == presence(read)
    assert stored.check().problems == [] and read.check().problems == []


def test_the_papers_size_is_the_default(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "out", tree(tmp_path / "from"), CityscapesConfig())
    assert dataset.image(TRAIN[0]).shape == (512, 1024, 3) and dataset.mask(TRAIN[0]).shape == (512, 1024)


def test_another_size_than_the_prepared_one_is_refused(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "out", tree(tmp_path / "from"), CityscapesConfig(size=SMALL))
    for other, words in ((FULL, "null"), (CityscapesConfig(), r"\[512, 1024\]")):
        with pytest.raises(BenchError, match=rf"prepared at size \[16, 32\], but {words}.* is asked for"):
            Cityscapes(other, dataset.root).ids("train")
        with pytest.raises(BenchError, match=r"prepared at size \[16, 32\]"):
            Cityscapes.prepare(other, dataset.root, tmp_path / "from")
        assert len(Cityscapes(other, dataset.root).check().problems) == 1


def test_masks_are_drawn_in_the_official_colours(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "out", tree(tmp_path / "from"), FULL)
    colours = {
        label.train_id: (label.name, label.color) for label in TorchvisionCityscapes.classes if label.train_id >= 0
    }
    colours.pop(255)
    assert [(n, c) for n, c in zip(dataset.classes, dataset.palette, strict=True)] == [colours[i] for i in range(19)]
    with Image.open(dataset.mask_path(TRAIN[0])) as image:
        drawn = np.asarray(image.convert("RGB"))
    mask = dataset.mask(TRAIN[0])
    np.testing.assert_array_equal(drawn[mask < 255], np.asarray(dataset.palette, np.uint8)[mask[mask < 255]])


BAD: dict[str, tuple[str, bytes | None, str]] = {
    "missing mask": (
        "gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png",
        None,
        r"1 of 3 train masks missing \(bochum_000000_000313\)",
    ),
    "missing image": (
        "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png",
        None,
        r"1 of 1 val images missing \(munster_000000_000019\)",
    ),
    "train ids as label ids": (
        "gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png",
        encoded(np.full((40, 80), 255, np.uint8)),
        r"bochum_000000_000313_gtFine_labelIds\.png: label values 255, which Cityscapes's masks don't have",
    ),
    "bad png": (
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
        encoded(picture("x", 40, 80))[:500],
        r"aachen_000000_000019_leftImg8bit\.png: damaged",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sources_are_told_and_can_be_mended(tmp_path: Path, case: str) -> None:
    name, data, fault = BAD[case]
    source = tree(tmp_path / "from")
    (source / name).unlink()
    if data is not None:
        write_tree(source, {name: data})
    with pytest.raises(BenchError, match=fault) as error:
        Cityscapes.prepare(FULL, tmp_path / "out", source)
    assert "\n" not in str(error.value)
    tree(source)
    assert prepared(tmp_path / "out", source, FULL).check().problems == []


def test_half_of_the_archives(tmp_path: Path) -> None:
    write_zip(tmp_path / "from" / "leftImg8bit_trainvaltest.zip", cityscapes_files()[0])
    with pytest.raises(
        BenchError, match=r"3 of 3 train masks missing .* Needed: leftImg8bit_trainvaltest\.zip and gtFine"
    ):
        Cityscapes.prepare(FULL, tmp_path / "out", tmp_path / "from")
    part = CityscapesConfig(size=None, allow_incomplete=True)
    with pytest.raises(BenchError, match=r"no train image with a mask"):
        Cityscapes.prepare(part, tmp_path / "out", tmp_path / "from")


def test_it_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="can't be downloaded by a program"):
        Cityscapes.download(FULL, tmp_path)


def test_registered() -> None:
    assert registry.get("dataset", "cityscapes") is Cityscapes
    assert CityscapesConfig().size == (512, 1024)
    assert Cityscapes(FULL, Path("/nowhere")).few_labels_min_classes == 12
