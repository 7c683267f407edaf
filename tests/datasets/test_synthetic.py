"""The embedded dataset: pinned pixels, what makes it hard, and safe preparation."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bench.errors import BenchError
from datasets import _scenes, synthetic
from datasets._scenes import CLASSES, THINGS, draw_scene
from datasets.base import SplitName
from datasets.synthetic import Counts, Synthetic, SyntheticConfig

SMALL = SyntheticConfig(image_size=32, counts=Counts(train=3, val=2, test=1))
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
REPOSITORY = Path(__file__).parents[2]
# Changing a pixel is a new version of the dataset: raise `Synthetic.version`, then pin anew.
PINNED = "32fb6a0acc97abdacc1026c184a2ae2ea4a144e3b45b5f245fd3421bc7d700bc"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """The dataset as everybody gets it."""
    root = tmp_path_factory.mktemp("synthetic")
    Synthetic.prepare(SyntheticConfig(), root, None)
    return Synthetic(SyntheticConfig(), root)


def test_pixels_are_pinned(whole: Synthetic) -> None:
    digest = hashlib.sha256()
    for split in SPLITS:
        for image_id in whole.ids(split):
            digest.update(image_id.encode() + whole.image(image_id).tobytes() + whole.mask(image_id).tobytes())
    assert (Synthetic.version, digest.hexdigest()) == (1, PINNED)


def test_pixels_come_from_integers_alone() -> None:
    """No true division and no float constant in the drawing."""
    for node in ast.walk(ast.parse(Path(_scenes.__file__).read_text())):
        assert not isinstance(node, ast.Div)
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))


def test_hard_enough(whole: Synthetic) -> None:
    report = whole.check()
    assert report.problems == []
    assert report.counts == {"train": 400, "val": 100, "test": 100}
    assert report.sizes == {"96x96": 600}
    pixels = {name: report.class_pixels[name] for name in CLASSES}
    total = sum(report.class_pixels.values())
    assert whole.classes == CLASSES and len(CLASSES) - 1 >= 8
    assert max(pixels.values()) > 25 * min(
        pixels.values()
    )  # strong imbalance, but each class can be learnt and measured
    assert min(pixels.values()) > 0.01 * total
    assert min(report.class_images.values()) > 100
    assert 0.03 < report.class_pixels["void"] / total < 0.08


def test_confusable_pairs_differ_in_texture_alone() -> None:
    things = {thing.name: thing for thing in THINGS}
    for a, b in (("disc_rows", "disc_columns"), ("tile_checks", "tile_dots")):
        one, other = things[a], things[b]
        assert one.inside is other.inside and one.colour == other.colour and one.radius == other.radius
        assert one.texture is not other.texture


def test_every_class_in_every_split(whole: Synthetic) -> None:
    for split in SPLITS:
        assert {int(v) for i in whole.ids(split) for v in np.unique(whole.mask(i))} == {*range(len(CLASSES)), 255}


def test_void_lines_the_borders() -> None:
    """Between two different labels there is void, in rows and in columns."""
    for index in range(10):
        label = draw_scene("train", index, 64)[1].astype(int)
        for a, b in ((label[:, :-1], label[:, 1:]), (label[:-1], label[1:])):
            assert not ((a != b) & (a != 255) & (b != 255)).any()


def test_scenes_differ() -> None:
    scenes = [draw_scene(split, index, 32)[0].tobytes() for split in ("train", "val") for index in range(20)]
    assert len(set(scenes)) == len(scenes)


@pytest.mark.parametrize("size", [32, 50, 257])
def test_other_sizes(size: int) -> None:
    image, mask = draw_scene("test", 0, size)
    assert image.shape == (size, size, 3) and mask.shape == (size, size)
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask).tolist()) <= {*range(len(CLASSES)), 255}


def test_light_varies() -> None:
    means = np.array([draw_scene("train", index, 32)[0].mean((0, 1)) for index in range(100)])
    assert means.mean(1).std() > 20
    assert (means.max(1) - means.min(1)).mean() > 15


def test_prepared_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    Synthetic.prepare(SMALL, tmp_path, None, lambda *a: seen.append(a))
    assert seen == [(i + 1, 6) for i in range(6)]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    Synthetic.prepare(SMALL, tmp_path, None, lambda *a: pytest.fail("drew again"))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_options_have_folders_of_their_own(tmp_path: Path) -> None:
    other = SyntheticConfig(image_size=48, counts=SMALL.counts)
    for config in (SMALL, other):
        Synthetic.prepare(config, tmp_path, None)
    assert len(list(tmp_path.iterdir())) == 2
    assert Synthetic(SMALL, tmp_path).image("train_00000").shape == (32, 32, 3)
    assert Synthetic(other, tmp_path).image("train_00000").shape == (48, 48, 3)


def test_more_images_begin_with_the_same(tmp_path: Path) -> None:
    more = SyntheticConfig(image_size=32, counts=Counts(train=5, val=2, test=1))
    for config in (SMALL, more):
        Synthetic.prepare(config, tmp_path, None)
    a, b = Synthetic(SMALL, tmp_path), Synthetic(more, tmp_path)
    assert b.ids("train")[:3] == a.ids("train")
    assert all(np.array_equal(a.image(i), b.image(i)) for i in a.ids("train"))


def test_interrupted_preparation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def progress(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Synthetic.prepare(SMALL, tmp_path, None, progress)
    assert list(tmp_path.iterdir()) == []


def test_a_slower_process_keeps_the_first_copy(tmp_path: Path) -> None:
    """Another process finishes while this one draws."""

    def progress(done: int, total: int) -> None:
        if done == total:
            Synthetic.prepare(SMALL, tmp_path, None)
            (tmp_path / SMALL.folder / "first").touch()

    Synthetic.prepare(SMALL, tmp_path, None, progress)
    assert [p.name for p in tmp_path.iterdir()] == [SMALL.folder]
    assert (tmp_path / SMALL.folder / "first").exists()


def test_several_processes_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datasets.synthetic import *;"
        "Synthetic.prepare(SyntheticConfig(image_size=32, counts=Counts(train=60, val=2, test=1)), Path(sys.argv[1]), None)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    running = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    (folder,) = (tmp_path / "data").iterdir()
    assert len(list((folder / "JPEGImages").iterdir())) == 63


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="can't be made here"):
        Synthetic.prepare(SMALL, tmp_path / "file", None)


def test_options(tmp_path: Path) -> None:
    assert SyntheticConfig().folder == "v1-96px-400-100-100"
    for bad in ({"image_size": 8}, {"counts": {"train": 0}}, {"counts": {"trian": 3}}):
        with pytest.raises(ValidationError):
            SyntheticConfig.model_validate(bad)
    dataset = Synthetic(SMALL, tmp_path)
    assert dataset.few_labels_min_classes == 3
    assert synthetic.Synthetic.needs_root is False
    with pytest.raises(BenchError, match="no such file"):
        dataset.ids("train")
