"""Whether a dataset can be trained and scored on: each fault is told before anything is trained, by its file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.base import DatasetConfig, Health
from datasets.layout.health import judge
from datasets.layout.voc_layout import VocLayout
from tests.datasets.made import labels, make_voc, open_voc, picture


def health(root: Path, **options: object) -> Health:
    return VocLayout(DatasetConfig.model_validate(options), root).health()


def test_nothing_to_say(tmp_path: Path) -> None:
    found = health(make_voc(tmp_path))
    assert (found.problems, found.warnings) == ([], [])


def _turned(root: Path) -> None:
    Image.fromarray(np.ascontiguousarray(labels("d").T)).save(root / "SegmentationClass/d.png")


def _half(root: Path) -> None:
    Image.fromarray(labels("c")[::2, ::2]).save(root / "SegmentationClass/c.png")


def _by_exif(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "JPEGImages/d.png").unlink()
    Image.fromarray(picture("d")).save(root / "JPEGImages/d.jpg", exif=exif)
    _turned(root)


def _jpeg(root: Path) -> None:
    Image.fromarray(labels("a")).save(root / "SegmentationClass/a.png", format="JPEG")


def _linked(root: Path) -> None:
    """The folder of the masks is a link to that of the images."""
    shutil.rmtree(root / "SegmentationClass")
    (root / "SegmentationClass").symlink_to(root / "JPEGImages", target_is_directory=True)


def _two(root: Path) -> None:
    Image.fromarray(picture("a")).save(root / "JPEGImages/a.JPG")


def _gone(root: Path) -> None:
    (root / "SegmentationClass/d.png").unlink()


def _void(root: Path) -> None:
    for image_id in "de":
        Image.new("L", (16, 12), 255).save(root / f"SegmentationClass/{image_id}.png")


def _foreground_as_void(root: Path) -> None:
    for image_id in "de":
        Image.fromarray(np.where(labels(image_id) == 0, 0, 255).astype(np.uint8)).save(
            root / f"SegmentationClass/{image_id}.png"
        )


def _overlap(root: Path) -> None:
    with (root / "ImageSets/Segmentation/val.txt").open("a") as file:
        file.write("a\nc\n")


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (_turned, "SegmentationClass/d.png: the mask is 12x16, its image 16x12"),
    (_half, "SegmentationClass/c.png: the mask is 8x6, its image 16x12"),
    (_by_exif, "the image is turned by EXIF"),
    (_jpeg, "SegmentationClass/a.png: a JPEG by content"),
    (_linked, "JPEGImages/a.png: image and mask of 'a' are one file's content"),
    (_two, "'a' names several files that could be its image: a.JPG, a.png"),
    (_gone, "SegmentationClass: no mask 'd'"),
    (_void, "val: no mask has a pixel with a label, all are void"),
    (_foreground_as_void, "'ground' is the only class with pixels"),
    (_overlap, "2 of 4 val images are training images too (a, c); mend the lists"),
]


@pytest.mark.parametrize(("plant", "said"), FAULTS, ids=[plant.__name__ for plant, _ in FAULTS])
@pytest.mark.parametrize("size", [None, (6, 8)])
def test_faults(tmp_path: Path, plant: Callable[[Path], None], said: str, size: tuple[int, int] | None) -> None:
    """With a prepared size too, to which image and mask would both be stretched."""
    root = make_voc(tmp_path)
    plant(root)
    assert any(said in problem for problem in health(root, size=size).problems)


def test_an_overlap_that_is_meant(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    _overlap(root)
    found = health(root, overlap="allow")
    assert found.problems == []
    assert found.warnings == ["2 of 4 val images are training images too (a, c); allowed by dataset.overlap"]


def test_copies_under_another_name_are_told(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    shutil.copy(root / "JPEGImages/a.png", root / "JPEGImages/e.png")
    assert health(root).warnings == ["1 val images are copies of training images under another name (e = a)"]


def test_training_masks_are_not_decoded(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    Image.fromarray(np.full((12, 16), 77, np.uint8)).save(root / "SegmentationClass/a.png")
    assert health(root).problems == []
    assert any("a.png: illegal label values 77" in problem for problem in open_voc(root).check().problems)


def test_judgements_of_labels() -> None:
    def said(masks: list[dict[int, int]], *classes: str) -> tuple[int, list[str]]:
        found = judge("val", masks, classes, thorough=True)
        return len(found.problems), found.warnings

    assert said([{0: 5, 1: 5}, {1: 5}], "a", "b") == (0, ["val: in every image: b"])
    assert said([{0: 5}, {1: 5}], "a", "b", "c") == (0, ["val: no pixel of c (1 of 3 classes)"])
    assert said([{0: 5, 255: 20}, {1: 5}], "a", "b") == (0, ["val: 67 % of the pixels are void (255)"])
    assert said([{0: 5}], "a")[0] == said([{255: 5}], "a", "b")[0] == said([{1: 5}], "a", "b", "c")[0] == 1
