"""From the archives as they are published to the paper's table with its verdicts, by the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.datasets.archived import cityscapes_files, sun_files, voc_source, write_tar, write_zip
from tests.typed import bench

PART = ("--set", "allow_incomplete=true")
SMALL = [
    "network.backbone=tiny",
    "network.weights=none",
    "augmentation.crop_size=32",
    "schedule.iterations=2",
    "schedule.batch={labelled: 2, unlabelled: 2}",
    "evaluation={mode: whole, size: null}",
    "dataset.allow_incomplete=true",
    "method=[supervised, classmix, reco]",
    "seed=[0]",
]


def archives(name: str, folder: Path) -> Path:
    """Write a dataset's official archives, with a handful of small images."""
    if name == "voc":
        return voc_source(folder, "sbd")
    source = folder / "from"
    if name == "cityscapes":
        images, masks = cityscapes_files()
        write_zip(source / "leftImg8bit_trainvaltest.zip", images)
        write_zip(source / "gtFine_trainvaltest.zip", masks)
    else:
        train, test, labels = sun_files()
        write_tar(source / "SUNRGBD-train_images.tgz", train)
        write_tar(source / "SUNRGBD-test_images.tgz", test)
        write_tar(source / "sunrgbd_train_test_labels.tar.gz", labels)
        (source / "test_idx.txt").write_text("2\n")  # the ReCo authors' choice of test images, which the grid takes
    return source


@pytest.mark.parametrize(
    ("name", "grid", "size"),
    [("voc", "reco-voc", None), ("cityscapes", "reco-cityscapes", "[40, 80]"), ("sun_rgbd", "reco-sun", "[20, 30]")],
)
def test_from_the_archives_to_the_papers_table(name: str, grid: str, size: str | None, tmp_path: Path) -> None:
    source, root = archives(name, tmp_path), tmp_path / "data" / name
    data = ("--data", f"{name}={root}")
    sized: tuple[str, ...] = ("--set", f"size={size}") if size else ()
    sized += ("--set", "split=reco") if name == "sun_rgbd" else ()
    bench("data", "prepare", name, "--from", str(source), *data, *PART, *sized)
    assert "no problems" in bench("data", "check", name, *data, *PART, *sized)
    sets = [
        *SMALL,
        "protocol=[{few_labels: {labels: 1, min_classes: 1}}, full]",
        *([f"dataset.size={size}"] if size else []),
    ]
    options = [*data, "--store", str(tmp_path / "store"), *(part for key in sets for part in ("--set", key))]
    assert "6 done" in bench("run", grid, *options)
    text = bench("table", grid, *options)
    for verdict in ("protocol differs", "not published"):
        assert verdict in text, text
    assert "schedule.iterations" in text  # how the cells deviate from the recipe
    if name != "voc":
        return
    for fmt in ("md", "latex", "csv", "html"):
        assert "classmix" in bench("table", grid, *options, "--format", fmt)
    assert json.loads(bench("table", grid, *options, "--format", "json"))
    compared = bench("table", grid, *options, "--compare", "reco", "classmix")
    assert "reco" in compared and "settle" in compared


def test_partial_labels_on_voc(tmp_path: Path) -> None:
    source, root = archives("voc", tmp_path), tmp_path / "data" / "voc"
    data = ("--data", f"voc={root}")
    bench("data", "prepare", "voc", "--from", str(source), *data, *PART)
    sets = [*SMALL, "protocol=[{partial: 1px}, {partial: 25%}]"]
    options = [*data, "--store", str(tmp_path / "store"), *(part for key in sets for part in ("--set", key))]
    assert "6 done" in bench("run", "reco-voc-partial", *options)
    pixels = {}
    for path in (tmp_path / "store").glob("voc*/result.json"):
        result = json.loads(path.read_text())
        pixels["1px" in path.parent.name] = result["labelled_pixels"]
    assert pixels[True] < pixels[False]
    assert "partial" in bench("table", "reco-voc-partial", *options)
