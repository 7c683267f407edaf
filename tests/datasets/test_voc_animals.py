"""VOC-Animals: made of VOC's archives, and read from folders in VOC's layout as they are; images in their shape."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bench.errors import BenchError
from bench.files import REPOSITORY
from datasets import voc_animals
from datasets.base import DatasetConfig
from datasets.official.official import OfficialConfig
from datasets.protocols.files import Files, FilesConfig
from datasets.voc_animals import CLASSES, LISTS, VocAnimals
from tests.datasets.archived import encoded, picture, voc_labels, voc_source

TRAIN, VAL = ("2007_000039", "2010_000001"), ("2007_000042",)
# Written out by hand from VOC's list of classes.
INDEX = {0: 0, 8: 1, 10: 2, 12: 3, 13: 4, 17: 5, 15: 6}


def by_hand(labels: Any) -> Any:
    return np.vectorize(lambda value: INDEX.get(int(value), 255))(labels)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lists of three images; returns VOC's archives with SegmentationClassAug."""
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("".join(f"{i}\n" for i in TRAIN))
    (lists / "val.txt").write_text("".join(f"{i}\n" for i in VAL))
    (lists / "high_quality.txt").write_text("2007_000039\n")
    monkeypatch.setattr(voc_animals, "LISTS", lists)
    monkeypatch.setattr(VocAnimals, "published", {"train": 2, "val": 1})
    monkeypatch.setattr(VocAnimals, "checksums", {})
    return voc_source(tmp_path, "aug")


def test_the_shipped_lists_are_those_of_the_published_counts() -> None:
    lines = {path.stem: path.read_text().split() for path in LISTS.glob("*.txt")}
    counts = {"train": 3131, "val": 445, "high_quality": 437}
    assert {name: len(ids) for name, ids in lines.items()} == {
        **counts,
        **{f"labelled_{n}": n for n in (31, 65, 104, 222)},
    }
    train, val = set(lines["train"]), set(lines["val"])
    assert len(train) == 3131 and len(val) == 445 and not train & val
    assert all(set(ids) <= set(lines["high_quality"]) <= train for name, ids in lines.items() if "labelled" in name)
    assert lines["train"] == sorted(lines["train"])


def test_it_is_made_of_vocs_archives(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    VocAnimals.prepare(OfficialConfig(), root, small)
    dataset = VocAnimals(OfficialConfig(), root)
    assert (dataset.ids("train"), dataset.ids("val")) == (TRAIN, VAL)
    assert dataset.classes == CLASSES and dataset.high_quality == {"2007_000039"}
    for image_id, source in ((TRAIN[0], "aug"), (TRAIN[1], "aug"), (VAL[0], "voc")):
        np.testing.assert_array_equal(dataset.mask(image_id), by_hand(voc_labels(image_id, source)))
    assert dataset.check().problems == []
    assert dataset.made and not dataset.given


def test_incomplete_archives_are_refused(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VocAnimals, "published", {"train": 3, "val": 1})
    with pytest.raises(BenchError, match="train has 2 images, published are 3"):
        VocAnimals.prepare(OfficialConfig(), tmp_path / "out", small)


def shared(root: Path, raw: bool) -> VocAnimals:
    """A folder in VOC's layout: with VOC's label values, or with these classes'."""
    masks = root / ("SegmentationClassAug" if raw else "SegmentationClass")
    lists = root / "ImageSets" / "Segmentation"
    for folder in (root / "JPEGImages", masks, lists):
        folder.mkdir(parents=True)
    for image_id in (*TRAIN, *VAL):
        (root / "JPEGImages" / f"{image_id}.jpg").write_bytes(encoded(picture(image_id, 30, 45), "JPEG"))
        labels = np.kron(voc_labels(image_id)[::4, ::4], np.ones((6, 6), np.uint8))[:30, :45].astype(np.uint8)
        (masks / f"{image_id}.png").write_bytes(encoded(labels if raw else by_hand(labels).astype(np.uint8)))
    (lists / "val.txt").write_text(f"{VAL[0]}\n")
    (lists / ("train_aug.txt" if raw else "train.txt")).write_text("".join(f"{i}\n" for i in TRAIN))
    if raw:
        (lists / "train.txt").write_text(f"{TRAIN[0]}\n")  # VOC's own, which is not the training list
    return VocAnimals(OfficialConfig(), root)


def test_folders_in_vocs_layout_are_read_as_they_are(tmp_path: Path) -> None:
    raw, mapped = shared(tmp_path / "raw", True), shared(tmp_path / "mapped", False)
    for dataset in (raw, mapped):
        assert (dataset.ids("train"), dataset.ids("val")) == (TRAIN, VAL)
        assert dataset.check().problems == [] and dataset.health().problems == []
    for image_id in (*TRAIN, *VAL):
        np.testing.assert_array_equal(raw.mask(image_id), mapped.mask(image_id))
    assert raw.classes_in(TRAIN) == mapped.classes_in(TRAIN)
    assert raw.made == {}


def test_a_folder_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="isn't prepared: run `data prepare`"):
        VocAnimals(OfficialConfig(), tmp_path).ids("train")


@pytest.mark.parametrize(("long_side", "size"), [(15, (10, 15)), (90, (60, 90)), (45, (30, 45))])
def test_images_are_prepared_in_their_shape(tmp_path: Path, long_side: int, size: tuple[int, int]) -> None:
    shared(tmp_path / "raw", True)
    dataset = VocAnimals(OfficialConfig(long_side=long_side), tmp_path / "raw")
    path = tmp_path / "raw" / "JPEGImages" / f"{VAL[0]}.jpg"
    expected = Image.open(path).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(dataset.image(VAL[0]), np.asarray(expected))
    assert dataset.mask(VAL[0]).shape == size
    assert np.isin(dataset.mask(VAL[0]), [*range(7), 255]).all()


def test_a_size_is_given_in_one_way_and_is_part_of_the_id() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        DatasetConfig(size=(3, 4), long_side=288)
    assert "long_side" not in DatasetConfig().identity()
    assert DatasetConfig(long_side=288).identity()["long_side"] == 288


def test_the_shipped_lists_are_protocols_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "datasets/subsets/voc_animals/labelled_65.txt"
    assert Files(FilesConfig(labelled=name)).title == "65"
    shutil.copytree(REPOSITORY / Path(name).parent, tmp_path / Path(name).parent)
    (tmp_path / name).write_text("2007_000039\n")
    assert Files(FilesConfig(labelled=name)).title == "1"  # one's own goes first


def test_damaged_label_values_are_named(tmp_path: Path) -> None:
    dataset = shared(tmp_path / "raw", True)
    mask = tmp_path / "raw" / "SegmentationClassAug" / f"{VAL[0]}.png"
    Image.fromarray(np.full((30, 45), 21, np.uint8)).save(mask)
    with pytest.raises(BenchError, match=r"2007_000042.png: label values 21, which VocAnimals's masks don't have"):
        dataset.mask(VAL[0])
    mask.write_bytes(io.BytesIO(b"nothing").getvalue())
    with pytest.raises(BenchError, match="unreadable image"):
        dataset.mask(VAL[0])
