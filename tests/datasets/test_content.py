"""What a dataset contains, as hashes: every change of a file that is read shows, and nothing else does."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.files import file_digest
from datasets.content import Content, differences, read_content
from datasets.folder import Folder, FolderConfig
from datasets.layout import stamps
from datasets.synthetic import Counts, Synthetic, SyntheticConfig

DRAWN = SyntheticConfig(image_size=32, counts=Counts(train=6, val=3, test=2))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of six training and three validation scenes."""
    Synthetic.prepare(DRAWN, tmp_path / "drawn", None)
    shutil.move(tmp_path / "drawn" / DRAWN.folder, tmp_path / "data")
    return tmp_path / "data"


def read(root: Path) -> Content:
    return read_content(Folder(FolderConfig(), root), ["train", "val"])


def test_each_files_hash_is_that_of_its_bytes(root: Path) -> None:
    found = read(root)
    assert list(found.splits) == ["train", "val"] and not found.pinned
    files = [root / "JPEGImages" / "val_00001.png", root / "SegmentationClass" / "val_00001.png"]
    expected = ".".join(hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in files)
    assert found.splits["val"]["val_00001"] == expected
    assert Content.from_json(found.as_json()).sha256 == found.sha256
    moved = root.with_name("elsewhere")
    shutil.copytree(root, moved)
    assert read(moved).sha256 == found.sha256


def _cut(root: Path) -> None:
    path = root / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))


def _turn(root: Path) -> None:
    path = root / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def _black(root: Path) -> None:
    for path in (root / "JPEGImages").glob("train*"):
        Image.new("RGB", (32, 32)).save(path)


def _remap(root: Path) -> None:
    path = root / "SegmentationClass" / "val_00000.png"
    with Image.open(path) as mask:
        labels = np.array(mask)
    Image.fromarray(np.where(labels == 0, 1, np.where(labels == 1, 0, labels)).astype(np.uint8)).save(path)


def _rename(root: Path) -> None:
    (root / "classes.txt").write_text((root / "classes.txt").read_text().upper())


def _remove(root: Path) -> None:
    (root / "SegmentationClass" / "train_00002.png").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_cut, "val: 2 of 3 images gone (val_00001, val_00002)"),
        (_turn, "train: the list's order changed"),
        (_black, "train: 6 images changed (train_00000, train_00001, …)"),
        (_remap, "val: 1 mask changed (val_00000)"),
        (_rename, "other class names"),
        (_remove, "train: 1 mask changed (train_00002)"),
    ],
)
def test_a_change_of_what_is_read_shows_and_is_named(root: Path, change: object, said: str) -> None:
    before = read(root)
    assert read(root).sha256 == before.sha256
    change(root)  # type: ignore[operator]
    after = read(root)
    assert after.sha256 != before.sha256
    assert differences(before, after) == said


def test_what_is_not_read_does_not_matter(root: Path) -> None:
    before = read(root).sha256
    (root / "README").write_text("notes")
    Image.new("RGB", (8, 8)).save(root / "JPEGImages" / "test_00000.png")  # of a split that isn't asked for
    for path in root.rglob("*"):
        os.utime(path, (1, 1))
    assert read(root).sha256 == before


def test_files_are_hashed_once_but_never_trusted_while_they_may_still_change(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return file_digest(path)

    monkeypatch.setattr(stamps, "file_digest", counting)
    read(root)
    first = len(hashed)
    assert first == 21  # 18 images and masks, two lists, the class names
    read(root)
    assert len(hashed) == 2 * first  # all of them are new
    monkeypatch.setattr(stamps, "_SETTLED_NS", 0)
    read(root)
    del hashed[:]
    before = read(root).sha256
    assert hashed == []
    path = root / "JPEGImages" / "val_00000.png"
    content, times = bytearray(path.read_bytes()), path.stat()
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as an archive's tool does
    assert read(root).sha256 != before and hashed == [path]


def test_drawn_scenes_are_pinned_until_one_is_changed(tmp_path: Path) -> None:
    Synthetic.prepare(DRAWN, tmp_path, None)
    dataset = Synthetic(DRAWN, tmp_path)
    found = read_content(dataset, ["train", "val"])
    assert found.pinned and found.identity == ""
    (dataset.root / "SHA256SUMS").unlink()  # as an earlier version left it
    Synthetic.prepare(DRAWN, tmp_path, None)
    assert read_content(dataset, ["train", "val"]).pinned
    Image.new("RGB", (32, 32)).save(dataset.root / "JPEGImages" / "val_00000.png")
    changed = read_content(Synthetic(DRAWN, tmp_path), ["train", "val"])
    assert not changed.pinned and changed.identity == changed.sha256 != found.sha256


def test_checksums_in_a_folder_of_ones_own_pin_nothing(root: Path) -> None:
    assert (root / "SHA256SUMS").is_file()
    assert not read(root).pinned
