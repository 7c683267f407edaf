"""Decoding, preparing and listing a dataset in VOC layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from datasets.base import SplitName
from datasets.layout import stamps
from datasets.layout.palette import voc_palette
from tests.datasets.made import CLASSES, LISTS, labels, make_voc, open_voc, picture, presence


def test_ids_keep_the_order_of_the_list(tmp_path: Path) -> None:
    dataset = open_voc(make_voc(tmp_path))
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    assert {split: dataset.ids(split) for split in splits} == LISTS
    assert dataset.classes == CLASSES
    assert dataset.palette == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def test_decoded_pixels(tmp_path: Path) -> None:
    dataset = open_voc(make_voc(tmp_path))
    image, mask = dataset.image("a"), dataset.mask("a")
    assert image.dtype == mask.dtype == np.uint8
    assert np.array_equal(image, picture("a")) and np.array_equal(mask, labels("a"))
    assert image.flags.writeable and mask.flags.writeable


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg(tmp_path: Path, suffix: str) -> None:
    dataset = open_voc(make_voc(tmp_path, suffix=suffix))
    with Image.open(tmp_path / f"JPEGImages/a{suffix}") as image:
        assert np.array_equal(dataset.image("a"), np.asarray(image))


def test_palette_masks_give_indices(tmp_path: Path) -> None:
    dataset = open_voc(make_voc(tmp_path))
    mask = Image.fromarray(labels("a"))
    mask.putpalette([c for colour in voc_palette(256) for c in colour])
    mask.save(dataset.mask_path("a"))
    assert np.array_equal(dataset.mask("a"), labels("a"))


def test_prepared_size(tmp_path: Path) -> None:
    """Half the size: an antialiased bilinear filter is a tent of width 4, and nearest takes one pixel of each four."""
    dataset = open_voc(make_voc(tmp_path), size=(6, 8))
    image, mask = dataset.image("a"), dataset.mask("a")
    assert image.shape == (6, 8, 3) and mask.shape == (6, 8)
    tent = np.array([1, 3, 3, 1]) / 8
    window = picture("a")[3:7, 3:7].astype(float)  # rows and columns 3 to 6 make pixel (2, 2)
    assert np.abs(np.einsum("i,j,ijc->c", tent, tent, window) - image[2, 2]).max() <= 1
    assert np.array_equal(mask, labels("a")[1::2, 1::2])


def test_presence(tmp_path: Path) -> None:
    make_voc(tmp_path)
    dataset = open_voc(tmp_path, size=(3, 4))
    assert presence(dataset) == {
        i: frozenset(np.unique(dataset.mask(i)).tolist()) - {255} for i in dataset.ids("train")
    }
    assert presence(open_voc(tmp_path))["a"] == frozenset(np.unique(labels("a")).tolist()) - {255}


def test_presence_comes_from_the_cache_until_a_mask_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_voc(tmp_path / "data")
    monkeypatch.setattr(stamps, "_SETTLED_NS", 0)
    first = presence(open_voc(root))
    with monkeypatch.context() as patch:
        patch.setattr("datasets.layout.voc_layout.load_index_mask", lambda path, **_: pytest.fail("read a mask"))
        assert presence(open_voc(root)) == first
    Image.new("L", (16, 12), 2).save(root / "SegmentationClass/a.png")
    assert presence(open_voc(root)) == {**first, "a": frozenset({2})}


def test_illegal_label_is_named(tmp_path: Path) -> None:
    dataset = open_voc(make_voc(tmp_path))
    Image.fromarray(np.array([[0, 3, 77, 255]], np.uint8)).save(dataset.mask_path("a"))
    for read in (dataset.mask, lambda _: presence(dataset)):
        with pytest.raises(BenchError, match=r"a\.png: label values 3, 77 .*0 to 2"):
            read("a")


def test_missing_files_are_named(tmp_path: Path) -> None:
    dataset = open_voc(make_voc(tmp_path))
    with pytest.raises(BenchError, match=r"JPEGImages: no image 'zzz' \(\.jpg, "):
        dataset.image("zzz")
    with pytest.raises(BenchError, match=r"SegmentationClass: no mask 'zzz' \(\.png\)"):
        dataset.mask("zzz")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\nb\na\n", "names an id twice"),
        ("\n", "names no ids"),
        ("a\n../../secret\n", "'../../secret' is not an id"),
        ("/etc/passwd\n", "'/etc/passwd' is not an id"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, text: str, why: str) -> None:
    dataset = open_voc(make_voc(tmp_path))
    dataset.list_path("train").write_text(text)
    with pytest.raises(BenchError, match=f"train.txt: {why}"):
        dataset.ids("train")


def test_missing_list(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"test\.txt: there is no such file"):
        open_voc(make_voc(tmp_path, {"train": ["a"], "val": ["b"]})).ids("test")


def test_ids_in_folders(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    for folder, suffix in (("JPEGImages", ".png"), ("SegmentationClass", ".png")):
        (root / folder / "city").mkdir()
        (root / folder / f"a{suffix}").rename(root / folder / f"city/a{suffix}")
    dataset = open_voc(root)
    dataset.list_path("train").write_text("city/a\n")
    assert np.array_equal(dataset.mask(dataset.ids("train")[0]), labels("a"))


def test_nothing_to_prepare(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="point --data"):
        open_voc(tmp_path).prepare(open_voc(tmp_path).config, tmp_path, None)
