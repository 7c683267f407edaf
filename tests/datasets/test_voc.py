"""VOC from small archives in the official layouts: every combination of sources, and what must be refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.errors import BenchError
from datasets.official.official import OfficialConfig
from datasets.voc import CLASSES, Voc
from tests.datasets.archived import (
    TRAIN_AUG,
    VOC_TRAIN,
    VOC_VAL,
    contents,
    encoded,
    lines,
    mat,
    picture,
    prepared_voc,
    sbd_files,
    small_voc,
    voc_files,
    voc_labels,
    voc_source,
    write_tree,
)
from tests.datasets.made import presence

ROOT = Path(__file__).parents[2]
PART = OfficialConfig(allow_incomplete=True)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_voc(monkeypatch)


def expected_mask(image_id: str, kind: str) -> Any:
    if image_id in VOC_VAL or ("aug" not in kind and image_id in VOC_TRAIN):
        return voc_labels(image_id)
    return voc_labels(image_id, "aug" if "aug" in kind else "sbd")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["sbd", "aug", "aug palette", "sbd trees", "aug trees"])
def test_prepare_check_and_read(tmp_path: Path, kind: str) -> None:
    source = voc_source(tmp_path, kind)
    before = contents(source)
    dataset = prepared_voc(tmp_path / "out", source)
    assert contents(source) == before
    assert (dataset.ids("train"), dataset.ids("val")) == (TRAIN_AUG, VOC_VAL)
    assert dataset.high_quality == frozenset(VOC_TRAIN)
    for image_id in (*TRAIN_AUG, *VOC_VAL):
        jpeg = io.BytesIO(encoded(picture(image_id), "JPEG"))
        np.testing.assert_array_equal(dataset.image(image_id), np.asarray(Image.open(jpeg)))
        np.testing.assert_array_equal(dataset.mask(image_id), expected_mask(image_id, kind))
    assert presence(dataset) == {
        i: frozenset(np.unique(expected_mask(i, kind)).tolist()) - {255} for i in dataset.ids("train")
    }
    report = dataset.check()
    assert report.problems == [] and report.counts == {"train": 5, "val": 2}
    assert not any("incomplete" in note for note in report.notes)
    assert report.class_pixels["void"] == sum(
        int((expected_mask(i, kind) == 255).sum()) for i in (*TRAIN_AUG, *VOC_VAL)
    )


@pytest.mark.usefixtures("small")
def test_masks_are_drawn_in_vocs_colours(tmp_path: Path) -> None:
    dataset = prepared_voc(tmp_path / "out", voc_source(tmp_path, "sbd"))
    colours = np.asarray(Image.open(dataset.mask_path(VOC_TRAIN[0])).convert("RGB"))
    original = Image.open(io.BytesIO(encoded(voc_labels(VOC_TRAIN[0]), palette=True)))
    np.testing.assert_array_equal(colours, np.asarray(original.convert("RGB")))  # the void border's colour too
    assert dataset.classes == CLASSES and len(CLASSES) == 21 and dataset.palette[15] == (192, 128, 128)


@pytest.mark.usefixtures("small")
def test_the_published_order_where_there_is_a_list(tmp_path: Path) -> None:
    source, order = voc_source(tmp_path, "aug"), tuple(reversed(TRAIN_AUG))
    write_tree(source, {"lists/train_aug.txt": lines(*order)})
    assert prepared_voc(tmp_path / "out", source).ids("train") == order
    paths = lines(*(f"/JPEGImages/{i}.jpg /SegmentationClassAug/{i}.png" for i in order))
    write_tree(source, {"lists/train_aug.txt": paths})
    assert prepared_voc(tmp_path / "two", source).ids("train") == order


@pytest.mark.usefixtures("small")
def test_other_years_are_left_alone(tmp_path: Path) -> None:
    source = voc_source(tmp_path, "aug trees")
    write_tree(source, {p.replace("VOC2012", "VOC2007"): b"junk" for p in voc_files()})
    assert prepared_voc(tmp_path / "out", source).check().problems == []


BAD: dict[str, tuple[str, bytes | None, str]] = {
    "missing mask": ("benchmark_RELEASE/dataset/cls/2008_000002.mat", None, r"train has 4 images, published are 5"),
    "missing val mask": (
        "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png",
        None,
        r"1 of 2 val masks missing \(2007_000033\)",
    ),
    "missing image": (
        "VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg",
        None,
        r"1 of 5 train images missing \(2008_000002\)",
    ),
    "missing list": ("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", None, r"no ImageSets/Segmentation/val\.txt"),
    "bad image": ("VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg", b"no", r"2008_000002\.jpg: unreadable image"),
    "bad png": (
        "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png",
        b"\x89PNG\r\n",
        r"2007_000033\.png: unreadable image",
    ),
    "bad mat": (
        "benchmark_RELEASE/dataset/cls/2008_000002.mat",
        b"MATLAB",
        r"2008_000002\.mat: not a MATLAB file of SBD",
    ),
    "mat of 99": (
        "benchmark_RELEASE/dataset/cls/2008_000002.mat",
        mat(np.full((20, 30), 99, np.uint8)),
        r"2008_000002\.mat: label values 99",
    ),
    "colours": (
        "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png",
        encoded(picture("x")),
        r"2007_000033\.png: not an 8-bit index mask \(mode RGB\)",
    ),
    "other size": (
        "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png",
        encoded(voc_labels("x")[:10]),
        r"1 images and masks differ in size: 2007_000033\.jpg is \(30, 20\), its mask \(30, 10\)",
    ),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", BAD)
def test_bad_sources_are_told_and_can_be_mended(tmp_path: Path, case: str) -> None:
    name, data, fault = BAD[case]
    source = voc_source(tmp_path, "sbd trees")
    (source / name).unlink()
    if data is not None:
        write_tree(source, {name: data})
    with pytest.raises(BenchError, match=fault) as error:
        Voc.prepare(OfficialConfig(), tmp_path / "out", source)
    assert "\n" not in str(error.value)
    write_tree(source, {**voc_files(), **sbd_files()})
    assert prepared_voc(tmp_path / "out", source).check().problems == []


@pytest.mark.usefixtures("small")
def test_what_the_source_must_not_be(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"isn't prepared yet: give --from DIR with VOCtrainval"):
        Voc.prepare(OfficialConfig(), tmp_path / "out", None)
    with pytest.raises(BenchError, match=r"there is no such folder"):
        Voc.prepare(OfficialConfig(), tmp_path / "out", tmp_path / "none")
    source = voc_source(tmp_path, "aug")
    with pytest.raises(BenchError, match=r"is also where the dataset is to be"):
        Voc.prepare(OfficialConfig(), source, source)
    with pytest.raises(BenchError, match=r"isn't prepared: run `data prepare`"):
        Voc(OfficialConfig(), tmp_path / "out").ids("train")


def test_registered() -> None:
    assert registry.get("dataset", "voc") is Voc
    assert Voc(OfficialConfig(), Path("/nowhere")).few_labels_min_classes == 3
