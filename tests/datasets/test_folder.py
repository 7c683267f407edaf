"""Your own images: VOC layout by default, or folders as configured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bench import registry
from bench.errors import BenchError
from datasets.content import read_content
from datasets.folder import Folder, FolderConfig
from datasets.layout.voc_layout import Layout
from datasets.protocols.few_labels import FewLabels, FewLabelsConfig
from datasets.protocols.files import Files, FilesConfig
from datasets.protocols.full import Full
from datasets.protocols.ratio import Ratio, RatioConfig
from datasets.split import make_manifest
from tests.datasets.made import CLASSES, labels, make_voc, picture


def test_voc_layout_by_default(tmp_path: Path) -> None:
    dataset = Folder(FolderConfig(), make_voc(tmp_path))
    assert dataset.check().problems == []
    assert dataset.classes == CLASSES
    assert dataset.few_labels_min_classes == 1


def test_two_folders(tmp_path: Path) -> None:
    make_voc(tmp_path, layout=Layout("photos/all", "annotation", ".", "names.txt"))
    config = FolderConfig(images="photos/all", masks="annotation", lists=".", classes_file="names.txt", min_classes=2)
    dataset = Folder(config, tmp_path)
    assert dataset.check().problems == []
    assert np.array_equal(dataset.image("a"), picture("a")) and np.array_equal(dataset.mask("a"), labels("a"))
    assert dataset.few_labels_min_classes == 2


@pytest.mark.parametrize("key", ["images", "masks", "lists", "classes_file"])
@pytest.mark.parametrize("path", ["../other", "/data"])
def test_paths_stay_inside(key: str, path: str) -> None:
    with pytest.raises(ValidationError, match="within the dataset's folder"):
        FolderConfig.model_validate({key: path})


def test_what_identifies_it() -> None:
    """Other masks are another dataset; the name that you give tells two folders apart."""
    ids = [FolderConfig(), FolderConfig(masks="SegmentationClassAug"), FolderConfig(title="mine")]
    assert len({str(config.identity()) for config in ids}) == 3
    assert registry.get("dataset", "folder") is Folder


def test_training_images_without_a_mask_are_unlabelled(tmp_path: Path) -> None:
    make_voc(tmp_path, {"train": tuple("abcdefgh"), "val": ("x", "y"), "test": ("z",)})
    for image_id in "bdfz":
        (tmp_path / f"SegmentationClass/{image_id}.png").unlink()
    dataset = Folder(FolderConfig(), tmp_path)
    assert dataset.ids("train") == tuple("abcdefgh") and dataset.annotated == tuple("acegh")
    assert [len(files) for files in dataset.files("train").values()] == [2, 1, 2, 1, 2, 1, 2, 2]
    assert dataset.health().problems == []
    report = dataset.check()
    assert report.problems == [] and report.annotated == {"train": 5, "val": 2, "test": 0}
    assert "train: 5 images with a mask, 3 without (trained on as unlabelled)" in report.notes
    assert "test: 0 images with a mask, 1 without (nothing scores them)" in report.notes
    for protocol in (Ratio(RatioConfig(share="1/2")), FewLabels(FewLabelsConfig(labels=3)), Full(Full.Config())):
        split = protocol.split(dataset, 0)
        assert set(split.labelled) <= set("acegh")
        assert set("bdf") <= set(split.unlabelled)
    assert set(Full(Full.Config()).split(dataset, 0).unlabelled) == set("abcdefgh")
    with pytest.raises(BenchError, match="there are 8 training images, 5 with a mask; ask for fewer"):
        FewLabels(FewLabelsConfig(labels=6)).split(dataset, 0)
    (tmp_path / "some.txt").write_text("a\nb\n")
    with pytest.raises(BenchError, match=r"some\.txt: 1 of 2 images have no mask: b"):
        Files(FilesConfig(labelled=str(tmp_path / "some.txt"))).split(dataset, 0)


def test_a_mask_that_nobody_reads_may_hold_anything(tmp_path: Path) -> None:
    make_voc(tmp_path)
    Image.new("L", (16, 12), 77).save(tmp_path / "SegmentationClass/b.png")
    (tmp_path / "a.txt").write_text("a\n")
    dataset = Folder(FolderConfig(), tmp_path)
    files = Files(FilesConfig(labelled=str(tmp_path / "a.txt")))
    options = {"name": "files"}
    made = make_manifest(files.split(dataset, 0), dataset, "folder", files, options, 0)
    assert made.labelled == ("a",) and "b" in made.unlabelled
    with pytest.raises(BenchError, match=r"b\.png: label values 77"):
        FewLabels(FewLabelsConfig(labels=1)).split(dataset, 0)


@pytest.mark.parametrize("folder", ["more", "JPEGImages"])
def test_a_folder_of_photographs(tmp_path: Path, folder: str) -> None:
    """Also that of the images itself, in which images of other lists, hidden files and masks lie."""
    make_voc(tmp_path)
    for name in ("p 1.JPG", "deep/q.tif", ".hidden.jpg"):
        (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(name)).save(tmp_path / folder / name)
    dataset = Folder(FolderConfig(unlabelled_images=folder), tmp_path)
    assert dataset.ids("train") == (*"bac", f"{folder}/deep/q", f"{folder}/p 1")
    assert dataset.annotated == tuple("bac")
    assert np.array_equal(dataset.image(f"{folder}/deep/q"), picture("deep/q.tif"))
    assert dataset.check().problems == []
    (tmp_path / "photos.txt").write_text(f"{folder}/p 1.JPG\n")
    (tmp_path / "a.txt").write_text("a\n")
    config = FilesConfig(labelled=str(tmp_path / "a.txt"), unlabelled=str(tmp_path / "photos.txt"))
    assert Files(config).split(dataset, 0).unlabelled == (f"{folder}/p 1",)
    with pytest.raises(BenchError, match="no such folder"):
        Folder(FolderConfig(unlabelled_images="none"), tmp_path).ids("train")


def test_a_label_map(tmp_path: Path) -> None:
    """Of classes 0 to 2, two become one and one becomes void; the map is part of what identifies the data."""
    make_voc(tmp_path)
    (tmp_path / "classes.txt").unlink()
    given = FolderConfig.model_validate({"classes": {"0": "void", "1": "thing", "2": "thing", "255": "void"}})
    dataset = Folder(given, tmp_path)
    assert dataset.classes == ("thing",)
    assert np.array_equal(dataset.mask("a"), np.where(np.isin(labels("a"), (1, 2)), 0, 255))
    assert dataset.check().problems == [
        "one class alone ('thing'): its IoU is always 100; give what isn't it a class too, such as 'background'"
    ]
    contents = set[str]()
    for text in ("0: a\n1: b\n2: c\n255: void\n", "0: a\n1: c\n2: b\n255: void\n", "0: a\n2: c\n1: b\n255: void\n"):
        (tmp_path / "map.yaml").write_text(text)
        of_file = Folder(FolderConfig.model_validate({"classes": "map.yaml"}), tmp_path)
        contents.add(read_content(of_file, ["train"]).sha256)
        of_file.classes_in(of_file.annotated)  # what the cache has of one map isn't taken for another's
        named = dict(line.split(": ") for line in text.splitlines())
        expected = {named[str(value)] for value in np.unique(labels("a"))} - {"void"}
        assert {of_file.classes[i] for i in of_file.classes_in(["a"])["a"]} == expected
    assert len(contents) == 3
    assert "classes" not in FolderConfig().identity() and "classes" in given.identity()


def test_patterns_and_the_size_limit(tmp_path: Path) -> None:
    make_voc(tmp_path, layout=Layout("all", "all", "."), suffix=".tif")
    for image_id in "abcdef":
        (tmp_path / f"all/{image_id}.png").rename(tmp_path / f"all/{image_id}_seg.png")
    config = FolderConfig(images="all", masks="all/{id}_seg.png", lists=".")
    dataset = Folder(config, tmp_path)
    assert dataset.check().problems == []
    assert np.array_equal(dataset.image("a"), picture("a")) and np.array_equal(dataset.mask("a"), labels("a"))
    small = Folder(config.model_copy(update={"max_pixels": 100}), tmp_path)
    assert any("16x12 pixels, more than max_pixels (100)" in problem for problem in small.health().problems)
    assert config.model_copy(update={"max_pixels": 100}).identity() == config.identity()
