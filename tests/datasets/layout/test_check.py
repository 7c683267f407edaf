"""`data check`: every fault that is planted is reported, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.datasets.made import CLASSES, LISTS, labels, make_voc, open_voc, picture


def test_a_sound_dataset(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = open_voc(make_voc(tmp_path)).check(lambda *a: seen.append(a))
    masks = [labels(i) for ids in LISTS.values() for i in ids]
    values = {**dict(enumerate(CLASSES)), 255: "void"}
    assert report.problems == []
    assert report.counts == {"train": 3, "val": 2, "test": 1}
    assert report.class_pixels == {name: sum(int((m == v).sum()) for m in masks) for v, name in values.items()}
    assert report.class_images == {name: sum(v in m for m in masks) for v, name in values.items()}
    assert report.sizes == {"16x12": 6}
    assert (report.dataset, report.root) == ("VocLayout", str(tmp_path))
    assert seen == [(i + 1, 6) for i in range(6)]


def test_every_fault_is_reported(tmp_path: Path) -> None:
    ids = {"train": ("a", "b", "c", "d", "e"), "val": ("f", "g")}
    dataset = open_voc(make_voc(tmp_path, ids))
    images, masks = tmp_path / "JPEGImages", tmp_path / "SegmentationClass"
    (images / "a.png").unlink()
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:60])
    (masks / "b.png").unlink()
    Image.fromarray(np.array([[0, 9], [200, 255]], np.uint8)).save(masks / "c.png")
    Image.fromarray(picture("d")).save(masks / "d.png")
    dataset.list_path("train").write_text("a\nb\nb\nc\nd\ne\ng\n../x\n")
    problems = open_voc(tmp_path).check().problems
    for text in (
        "train.txt: names 'b' 2 times",
        "train.txt: '../x' is outside the dataset's folder",
        "1 of 2 val images are training images too (g); mend the lists",
        "JPEGImages: no image 'a' (.jpg, ",
        "JPEGImages/b.png: unreadable image",
        "SegmentationClass: no mask 'b' (.png)",
        "SegmentationClass/c.png: illegal label values 9, 200",
        "SegmentationClass/c.png: the mask is 2x2, its image 16x12",
        "JPEGImages/d.png: image and mask of 'd' are one file's content",
        "SegmentationClass/d.png: not an 8-bit index mask (mode RGB)",
    ):
        assert sum(text in problem for problem in problems) == 1, text
    assert len(problems) == 10
    assert not any("\n" in problem for problem in problems)


def test_an_id_in_two_splits_counts_once(tmp_path: Path) -> None:
    report = open_voc(make_voc(tmp_path, {"train": ("a", "b"), "val": ("b",)})).check()
    assert report.counts == {"train": 2, "val": 1}
    assert report.sizes == {"16x12": 2}
    assert report.class_images["void"] == 2


def test_lists_that_are_missing_or_empty(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"train": ("a",), "val": ()})
    assert [p.rpartition("/")[2] for p in open_voc(root).check().problems] == ["val.txt: names no ids"]
    (root / "ImageSets/Segmentation/train.txt").unlink()
    report = open_voc(root).check()
    assert [p.rpartition("/")[2] for p in report.problems] == [
        "train.txt: there is no such file",
        "val.txt: names no ids",
    ]


def test_without_class_names_the_rest_is_still_walked(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    (root / "classes.txt").unlink()
    (root / "JPEGImages/a.png").unlink()
    report = open_voc(root).check()
    assert [p.rpartition("/")[2] for p in report.problems] == [
        "classes.txt: there is no such file",
        "JPEGImages: no image 'a' (.jpg, .jpeg, .png, .tif, .tiff, .bmp, .webp)",
    ]
    assert report.class_images["2"] > 0


def test_no_folder(tmp_path: Path) -> None:
    assert open_voc(tmp_path / "none").check().problems == [f"{tmp_path / 'none'}: there is no such folder"]


def test_sizes_by_frequency(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    for folder, draw in (("JPEGImages", picture), ("SegmentationClass", labels)):
        Image.fromarray(draw("a", 8, 4)).save(root / folder / "a.png")
    report = open_voc(root).check()
    assert list(report.sizes.items()) == [("16x12", 5), ("4x8", 1)]
    assert report.problems == []
