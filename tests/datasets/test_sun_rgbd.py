"""SUN RGB-D from small archives in the official layout: numbering, labels, both splits, and what must be refused."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.errors import BenchError
from datasets import sun_rgbd
from datasets.protocols.few_labels import FewLabels, FewLabelsConfig
from datasets.sun_rgbd import CLASSES, SunRgbd, SunRgbdConfig
from tests.datasets.archived import (
    Files,
    contents,
    encoded,
    lines,
    picture,
    sun_files,
    sun_labels,
    write_tar,
    write_tree,
)
from tests.datasets.made import presence

OWN_SIZES = SunRgbdConfig(size=None)
TRAIN = tuple(f"img-{n:06d}" for n in (5051, 5052, 5053, 5054))
VAL = ("img-000001", "img-000002", "img-000003")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SunRgbd, "published", {"train": 4, "val": 3})


def tree(folder: Path) -> Path:
    train, test, labels = sun_files()
    write_tree(folder, {**train, **test, **{f"sunrgbd_train_test_labels/{n}": d for n, d in labels.items()}})
    return folder


def archives(folder: Path, inner: str = "") -> Path:
    train, test, labels = sun_files()
    write_tar(folder / "SUNRGBD-train_images.tgz", train)
    write_tar(folder / "SUNRGBD-test_images.tgz", test)
    write_tar(folder / "sunrgbd_train_test_labels.tar.gz", {f"{inner}{n}": d for n, d in labels.items()})
    return folder


def prepared(root: Path, source: Path | None, config: SunRgbdConfig = OWN_SIZES) -> SunRgbd:
    SunRgbd.prepare(config, root, source)
    return SunRgbd(config, root)


def expected_image(image_id: str) -> Any:
    number = int(image_id[4:])
    name = f"train {number - 5050}" if number > 5050 else f"test {number}"
    return Image.open(io.BytesIO(encoded(picture(name), "JPEG")))


def expected_mask(image_id: str) -> Any:
    raw = sun_labels(int(image_id[4:])).astype(int)
    return np.where(raw == 0, 255, raw - 1)


@pytest.mark.parametrize("kind", ["trees", "archives", "archives with a folder"])
def test_prepare_check_and_read(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "from"
    if kind == "trees":
        tree(source)
    else:
        archives(source, "sunrgbd_train_test_labels/" if "folder" in kind else "")
    before = contents(source)
    dataset = prepared(tmp_path / "out", source)
    assert contents(source) == before
    assert (dataset.ids("train"), dataset.ids("val")) == (TRAIN, VAL)
    for image_id in (*TRAIN, *VAL):
        np.testing.assert_array_equal(dataset.image(image_id), np.asarray(expected_image(image_id)))
        np.testing.assert_array_equal(dataset.mask(image_id), expected_mask(image_id))
    report = dataset.check()
    assert report.problems == [] and report.counts == {"train": 4, "val": 3}
    assert presence(dataset) == {i: frozenset(np.unique(expected_mask(i)).tolist()) - {255} for i in TRAIN}


def test_resized_as_the_paper_does(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "out", tree(tmp_path / "from"), SunRgbdConfig())
    expected = expected_image(TRAIN[0]).resize((512, 384), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(dataset.image(TRAIN[0]), np.asarray(expected))
    assert dataset.mask(TRAIN[0]).shape == (384, 512) and dataset.check().problems == []


def test_classes_and_colours() -> None:
    dataset = SunRgbd(OWN_SIZES, Path("/nowhere"))
    assert len(CLASSES) == 37 == len(set(CLASSES)) == len(dataset.palette) == len(set(dataset.palette))
    assert (CLASSES[0], CLASSES[9], CLASSES[36]) == ("wall", "bookshelf", "bag")
    assert dataset.palette[0] == (128, 0, 0) and (0, 0, 0) not in dataset.palette
    assert registry.get("dataset", "sun_rgbd") is SunRgbd


def test_recos_split(tmp_path: Path) -> None:
    source, config = tree(tmp_path / "from"), SunRgbdConfig(size=None, split="reco")
    with pytest.raises(BenchError, match=r"split 'reco' needs dataset/sun/test_idx\.txt"):
        SunRgbd.prepare(config, tmp_path / "out", source)
    prepared(tmp_path / "out", source)
    with pytest.raises(BenchError, match=r"split 'reco' needs dataset/sun/test_idx\.txt"):
        SunRgbd.prepare(config, tmp_path / "out", source)  # ready, but not for this
    write_tree(source, {"test_idx.txt": b"2"})
    dataset = prepared(tmp_path / "out", source, config)
    assert dataset.ids("val") == ("img-000002",)
    assert dataset.ids("train") == ("img-000001", "img-000003", *TRAIN)
    assert dataset.check().problems == [] and set(presence(dataset)) == set(dataset.ids("train"))
    assert prepared(tmp_path / "out", None).ids("val") == VAL  # the official one stays
    assert config.identity()["split"] == "reco" and "split" not in OWN_SIZES.identity()
    write_tree(source, {"test_idx.txt": lines("2", "x")})
    with pytest.raises(BenchError, match=r"test_idx\.txt: not numbers of test images"):
        SunRgbd.prepare(config, tmp_path / "new", source)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"sunrgbd_train_test_labels/img-005052.png": None}, r"1 of 4 train masks missing \(img-005052\)"),
        ({"SUNRGBD-test_images/img-000003.jpg": None}, r"1 of 3 val images missing \(img-000003\)"),
        (
            {"SUNRGBD-train_images/img-000004.jpg": None, "sunrgbd_train_test_labels/img-005054.png": None},
            r"train has 3 images, published are 4",
        ),
        (
            {"sunrgbd_train_test_labels/img-005052.png": encoded(np.full((20, 30), 38, np.uint8))},
            r"img-005052\.png: label values 38, which SunRgbd's masks don't have",
        ),
        (
            {"SUNRGBD-train_images/img-005054.jpg": b""},
            r"SUNRGBD-train_images goes up to number 5054, the official one to 4: another program renamed",
        ),
    ],
)
def test_bad_sources_are_told(tmp_path: Path, changed: dict[str, bytes | None], fault: str) -> None:
    source = tree(tmp_path / "from")
    for name, data in changed.items():
        (source / name).unlink(missing_ok=True)
        if data is not None:
            write_tree(source, {name: data})
    with pytest.raises(BenchError, match=fault) as error:
        SunRgbd.prepare(OWN_SIZES, tmp_path / "out", source)
    assert "\n" not in str(error.value)


def test_a_truncated_archive(tmp_path: Path) -> None:
    source = archives(tmp_path / "from")
    path = source / "SUNRGBD-train_images.tgz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BenchError, match=r"SUNRGBD-train_images\.tgz: not a whole archive"):
        SunRgbd.prepare(OWN_SIZES, tmp_path / "out", source)


def authors_draw(masks: dict[str, Any], labels: int, seed: int) -> list[str] | None:
    """Follow ReCo's description for SUN on masks, with arrays; None where all lists are used up."""
    order = sorted(masks)
    random.Random(seed).shuffle(order)
    waiting = [[i for i in order if (masks[i] == c).any()] for c in range(37)]
    counter = np.zeros(37)
    taken: list[str] = []
    while len(taken) < labels:
        counts = np.where([len(w) > 0 for w in waiting], counter, np.inf)
        if np.isinf(counts).all():
            return None
        name = waiting[int(counts.argmin())].pop()
        if name not in taken:
            taken.append(name)
            counter += [(masks[name] == c).any() for c in range(37)]
    return taken


def test_few_labels_draws_from_a_list_per_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SunRgbd, "published", {"train": 30, "val": 3})
    train, test, labels = sun_files(train=30)
    files: Files = {**train, **test, **{f"sunrgbd_train_test_labels/{n}": d for n, d in labels.items()}}
    write_tree(tmp_path / "from", files)
    dataset = prepared(tmp_path / "out", tmp_path / "from")
    masks = {i: expected_mask(i) for i in dataset.ids("train")}
    for seed in range(4):
        for count in (1, 5, 29):
            split = FewLabels(FewLabelsConfig(labels=count)).split(dataset, seed)
            assert list(split.labelled) == authors_draw(masks, count, seed)


def test_the_numbers_of_the_published_dataset() -> None:
    assert sun_rgbd._TEST_IMAGES == 5050
