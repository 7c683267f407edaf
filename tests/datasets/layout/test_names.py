"""Lines of lists: for any ids and any line, the outcome is the id that was written, or a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from datasets.base import DatasetConfig, SegmentationDataset, SplitName
from datasets.layout.names import Names, NotOneImageError

ROOT = Path("/data/mine")


class Pictures(SegmentationDataset):
    """Ids per split, in a folder of images."""

    def __init__(self, ids: Mapping[SplitName, tuple[str, ...]], images: str = "JPEGImages") -> None:
        super().__init__(DatasetConfig(), ROOT)
        self._listed, self._folder = ids, images

    def ids(self, split: SplitName) -> tuple[str, ...]:
        if split not in self._listed:
            raise BenchError("no such list")
        return self._listed[split]

    def files(self, split: SplitName) -> dict[str, tuple[Path, ...]]:
        return {i: (ROOT / self._folder / f"{i}.jpg", ROOT / f"SegmentationClass/{i}.png") for i in self.ids(split)}


def find(line: str, *train: str, val: tuple[str, ...] = (), images: str = "JPEGImages") -> str | None:
    ids: dict[SplitName, tuple[str, ...]] = {"train": train, "val": val}
    try:
        return Names(Pictures(ids, images)).find(line)
    except NotOneImageError:
        return None


@pytest.mark.parametrize(
    ("line", "train", "expected"),
    [
        ("IMG (3).jpg", ("IMG", "IMG (3)"), "IMG (3)"),
        ("IMG (3).jpg", ("IMG",), None),
        ("JPEGImages/IMG (3).jpg SegmentationClass/IMG (3).png", ("IMG", "IMG (3)"), "IMG (3)"),
        ("JPEGImages/IMG.jpg SegmentationClass/IMG (3).png", ("IMG", "IMG (3)"), None),
        ("a.jpg b.png", ("a", "b"), None),
        ("a b", ("a", "b"), None),
        ("a b", ("a", "a b"), "a b"),
        ("a.jpg\tmasks/a_gt.png", ("a", "b"), "a"),
        ("a.jpg masks/a_1.png", ("a", "a_1"), None),
        ("x/a.jpg y/b/IMG.png", ("b/IMG",), None),
        ("a y/b/IMG.png", ("b/IMG", "a"), None),
        ("val/0003.jpg", ("train/0003", "train/0001"), None),
        ("val/0003.jpg", ("0003",), None),
        ("JPEGImages/0003.jpg", ("0003",), "0003"),
        ("/anywhere/JPEGImages/0003.JPG", ("0003",), "0003"),
        ("mine/JPEGImages/0003.jpg", ("0003",), "0003"),
        ("JPEGImages\\train\\0003.jpg", ("train/0003",), "train/0003"),
        ("0003.jpg", ("train/0003",), None),
        ("0003.jpg", ("train/0003", "more/0003"), None),
        ("b/a/1.jpg", ("a/1", "b/a/1"), "b/a/1"),
        ("1/1/1", ("1/1",), "1/1"),
        ("1 1", ("1",), None),
        ("1 1.png", ("1",), "1"),
        ("../JPEGImages/1.jpg", ("1",), None),
        ("v1.2", ("v1.2", "v1"), "v1.2"),
        ("v1.2.png", ("v1.2", "v1"), "v1.2"),
        ("a.jpg", ("a", "a.jpg"), None),
        ("train/1.jpg seg/train/1.png", ("train/1", "val/1"), "train/1"),
        ("train/1.jpg seg/val/1.png", ("train/1", "val/1"), None),
    ],
)
def test_lines(line: str, train: tuple[str, ...], expected: str | None) -> None:
    assert find(line, *train) == expected


def test_images_of_other_splits_are_known(tmp_path: Path) -> None:
    assert find("0003.jpg", "train/0003", val=("val/0003",)) is None
    assert find("val/0003.jpg", "train/0003", val=("val/0003",)) is None
    assert find("0003.jpg", "0003", images=".") == "0003"
    assert find("val/0003.jpg", "0003", images=".") is None
    assert find("mine/0003.jpg", "0003", images=".") == "0003"


NAME = (
    st.text(st.sampled_from("ab1. _(-"), min_size=1, max_size=4)
    .map(str.strip)
    .filter(lambda t: t.strip(". ") == t != "")
)
ID = st.lists(NAME, min_size=1, max_size=3).map("/".join)
IDS = st.lists(ID, min_size=1, max_size=8, unique=True)


def spelled(image_id: str, style: int) -> str:
    """Return a line that names an image in one of the styles that lists have."""
    mask = f"SegmentationClass/{image_id}.png"
    return [
        image_id,
        f"{image_id}.jpg",
        f"JPEGImages/{image_id}.jpg",
        f"JPEGImages/{image_id}.jpg {mask}",
        f"JPEGImages/{image_id}.JPG\t{mask}",
        f"/data/mine/JPEGImages/{image_id}.jpg",
        f"{image_id}.jpg {image_id}_gt.png",
        f"{PurePosixPath(image_id).name}.jpg",
    ][style]


def with_its_mask(line: str, image_id: str) -> bool:
    """Tell whether a line can be read as an image and, behind white space, the mask of its name, as in ``1 masks/1.png``."""
    cuts = [(line[: m.start()], line[m.end() :]) for m in re.finditer(r"\s+", line)]
    name = image_id.split("/")[-1]
    masks = [
        image for image, mask in cuts if re.search(rf"(^|/){re.escape(name)}([-_.][^/]*)?\.(png|jpg)$", mask, re.I)
    ]
    return any(f"/{re.sub('[.](jpg|png)$', '', image, flags=re.I)}".endswith(f"/{image_id}") for image in masks)


@settings(max_examples=400, deadline=None)
@given(ids=IDS, written=ID, style=st.integers(0, 7), held=st.integers(0, 3))
def test_the_id_written_or_a_refusal(ids: list[str], written: str, style: int, held: int) -> None:
    """Whatever the dataset holds, a line that spells out an id is never taken for another one.

    But for folders in front of a whole id with a folder, as in ``leftImg8bit/aachen/1`` for ``aachen/1``, and for an image
    with its mask.
    """
    val, train = tuple(ids[:held]), tuple(ids[held:])
    line = spelled(written, style)
    found = find(line, *train, val=val) if train else None
    bare = PurePosixPath(written).name
    behind_folders = [i for i in train if "/" in i and written.endswith(f"/{i}") and written not in ids]
    allowed = [bare] if style == 7 else [written, *behind_folders]
    assert found is None or found in allowed or with_its_mask(line, found)
    assert found is None or found in train


@settings(max_examples=200, deadline=None)
@given(
    ids=st.lists(st.text(st.sampled_from("abc12"), min_size=1, max_size=3), min_size=1, unique=True),
    style=st.integers(0, 7),
)
def test_plain_ids_are_found_in_every_style(ids: list[str], style: int) -> None:
    assert find(spelled(ids[0], style), *ids) == ids[0]
