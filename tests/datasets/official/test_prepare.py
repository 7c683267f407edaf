"""Preparation: interrupted, killed, damaged, incomplete, done again. On VOC, since it is the same for all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.files import write_if_changed
from datasets.layout.checksums import CHECKSUMS
from datasets.official import official, prepare
from datasets.official.official import OfficialConfig
from datasets.official.prepare import RECORD
from datasets.voc import Voc
from tests.datasets.archived import (
    TRAIN_AUG,
    VOC_JPEG,
    VOC_VAL,
    contents,
    prepared_voc,
    small_voc,
    voc_source,
)

ROOT = Path(__file__).parents[3]
PART = OfficialConfig(allow_incomplete=True)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_voc(monkeypatch)


@pytest.mark.usefixtures("small")
def test_doing_it_again_changes_nothing_and_needs_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = voc_source(tmp_path, "sbd")
    prepared_voc(tmp_path / "out", source)
    before = contents(tmp_path / "out")
    monkeypatch.setattr(official, "Sources", None)  # the sources aren't opened
    prepared_voc(tmp_path / "out", None)
    prepared_voc(tmp_path / "out", source)
    assert contents(tmp_path / "out") == before


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at", [1, 5, 9, 13])
def test_an_interrupted_preparation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    source, out = voc_source(tmp_path, "sbd"), tmp_path / "out"
    whole = contents(prepared_voc(tmp_path / "whole", source).root)
    real, calls = write_if_changed, 0

    def failing(path: Path, content: bytes, *, sync: bool = True) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        real(path, content, sync=sync)

    monkeypatch.setattr(prepare, "_BATCH", 1)
    monkeypatch.setattr(prepare, "write_if_changed", failing)
    with pytest.raises(KeyboardInterrupt):
        Voc.prepare(OfficialConfig(), out, source)
    monkeypatch.setattr(prepare, "write_if_changed", real)
    with pytest.raises(BenchError, match=r"isn't (prepared|finished)"):
        Voc(OfficialConfig(), out).ids("train")
    begun = contents(out)
    (out / "JPEGImages").mkdir(exist_ok=True)
    (out / "JPEGImages" / ".x.jpg.1abc.tmp").write_bytes(b"half")
    steps: list[tuple[int, int]] = []
    Voc.prepare(OfficialConfig(), out, source, lambda done, total: steps.append((done, total)))
    after = contents(out)
    assert {p: d for p, (_, d) in after.items()} == {p: d for p, (_, d) in whole.items()}
    made = [p for p in begun if p.startswith(("JPEGImages", "SegmentationClass/"))]
    assert all(after[p] == begun[p] for p in made) and len(made) == max(0, at - 2)
    assert steps[0] == (len(made), 28) and steps[-1] == (28, 28) and steps == sorted(steps)


def test_sigkill_leaves_whole_files(tmp_path: Path) -> None:
    source, out = voc_source(tmp_path, "sbd"), tmp_path / "out"
    code = f"""
import os, signal
from pathlib import Path
from datasets.official import prepare
from datasets.official.official import OfficialConfig
from datasets.voc import Voc
prepare._BATCH = 1
real = Path.replace
def replace(self, target):
    if "2008_000003" in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
Path.replace = replace
Voc.prepare(OfficialConfig(allow_incomplete=True), Path({str(out)!r}), Path({str(source)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert list(out.rglob(".*.tmp"))
    dataset = prepared_voc(out, source, PART)
    assert not list(out.rglob(".*.tmp")) and dataset.check().problems == []


def test_an_archive_that_is_not_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Voc, "published", {"train": len(TRAIN_AUG), "val": len(VOC_VAL)})
    with pytest.raises(BenchError, match=r"VOCtrainval_11-May-2012\.tar: MD5 \w+, published 6cd6e144f989b9"):
        Voc.prepare(OfficialConfig(), tmp_path / "out", voc_source(tmp_path, "aug"))


@pytest.mark.usefixtures("small")
def test_a_file_that_was_lost_is_made_again(tmp_path: Path) -> None:
    source = voc_source(tmp_path, "sbd")
    dataset = prepared_voc(tmp_path / "out", source)
    before = {p: d for p, (_, d) in contents(dataset.root).items()}
    dataset.mask_path("2008_000002").unlink()
    dataset.image_path("2007_000033").unlink()
    prepared_voc(dataset.root, source)
    assert {p: d for p, (_, d) in contents(dataset.root).items()} == before


@pytest.mark.usefixtures("small")
def test_check_finds_what_was_changed(tmp_path: Path) -> None:
    dataset = prepared_voc(tmp_path / "out", voc_source(tmp_path, "sbd"))
    path = dataset.mask_path("2008_000002")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    assert dataset.check().problems == [f"{path}: not as it was prepared; remove it and run `data prepare` again"]
    path.unlink()
    assert len(dataset.check().problems) == 2


@pytest.mark.usefixtures("small")
def test_the_checksums_are_those_of_coreutils(tmp_path: Path) -> None:
    dataset = prepared_voc(tmp_path / "out", voc_source(tmp_path, "aug"))
    done = subprocess.run(["sha256sum", "-c", "--quiet", CHECKSUMS], cwd=dataset.root, check=False)
    assert done.returncode == 0


def test_a_part_must_be_allowed_and_is_told(tmp_path: Path) -> None:
    source = voc_source(tmp_path, "sbd")
    with pytest.raises(BenchError) as error:
        Voc.prepare(OfficialConfig(), tmp_path / "out", source)
    assert "train has 5 images, published are 10,582; val has 2 images, published are 1,449" in str(error.value)
    assert "--set allow_incomplete=true" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out" / RECORD).exists()
    dataset = prepared_voc(tmp_path / "out", source, PART)
    assert "incomplete: train has 5 images, published are 10,582" in dataset.check().notes
    assert dataset.check().problems == []
    with pytest.raises(BenchError, match=r"not the whole dataset: train has 5 .*allow_incomplete=true"):
        Voc(OfficialConfig(), dataset.root).ids("train")
    assert len(Voc(OfficialConfig(), dataset.root).check().problems) == 1


def test_a_part_is_another_dataset(tmp_path: Path) -> None:
    assert OfficialConfig().identity() == {"size": None, "eval_split": "val"}
    assert PART.identity()["allow_incomplete"] is True


def test_a_part_grows_with_its_source(tmp_path: Path) -> None:
    source = voc_source(tmp_path, "sbd trees")
    path = source / VOC_JPEG / "2008_000002.jpg"
    data = path.read_bytes()
    path.unlink()
    dataset = prepared_voc(tmp_path / "out", source, PART)
    assert "2008_000002" not in dataset.ids("train")
    assert "incomplete: 1 of 5 train images missing (2008_000002)" in dataset.check().notes
    path.write_bytes(data)
    assert "2008_000002" in prepared_voc(tmp_path / "out", source, PART).ids("train")


@pytest.mark.usefixtures("small")
def test_masks_of_two_sources_are_not_mixed(tmp_path: Path) -> None:
    out = prepared_voc(tmp_path / "out", voc_source(tmp_path, "sbd")).root
    next((out / "SegmentationClass").iterdir()).unlink()
    with pytest.raises(BenchError, match=r"with masks from VOC and SBD, .*; go on with the same, or remove it"):
        Voc.prepare(OfficialConfig(), out, voc_source(tmp_path / "two", "aug"))
    with pytest.raises(BenchError, match=r"was begun at size null .* not at \[10, 15\]"):
        Voc.prepare(OfficialConfig(size=(10, 15)), out, tmp_path / "from")


@pytest.mark.usefixtures("small")
def test_a_damaged_record_and_another_datasets_folder(tmp_path: Path) -> None:
    out = prepared_voc(tmp_path / "out", voc_source(tmp_path, "sbd")).root
    record = json.loads((out / RECORD).read_text())
    (out / RECORD).write_text(json.dumps({**record, "dataset": "Cityscapes"}))
    with pytest.raises(BenchError, match=r"prepared as Cityscapes, version 1: use another folder"):
        Voc.prepare(OfficialConfig(), out, None)
    (out / RECORD).write_text("{")
    with pytest.raises(BenchError, match=r"prepared\.json: damaged"):
        Voc.prepare(OfficialConfig(), out, None)


@pytest.mark.usefixtures("small")
def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BenchError, match=rf"{root}: can't be used \((File exists|Not a directory)\)"):
            Voc.prepare(OfficialConfig(), root, voc_source(tmp_path, "sbd"))


@pytest.mark.usefixtures("small")
def test_two_at_once(tmp_path: Path) -> None:
    source = voc_source(tmp_path, "sbd")
    with (
        prepare.preparing(tmp_path / "out"),
        pytest.raises(BenchError, match="another process is preparing it"),
    ):
        Voc.prepare(OfficialConfig(), tmp_path / "out", source)


def test_the_command_line(tmp_path: Path) -> None:
    source, out = voc_source(tmp_path, "sbd"), tmp_path / "new" / "out"

    def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "bench.py", "data", *arguments, "--data", f"voc={out}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    refused = bench("prepare", "voc", "--from", str(source))
    assert refused.returncode == 2 and "not the whole dataset" in refused.stderr and "Traceback" not in refused.stderr
    part = ("--set", "allow_incomplete=true")
    done = bench("prepare", "voc", "--from", str(source), *part)
    assert done.returncode == 0 and done.stdout == f"voc is ready in {out}\n", done.stderr
    check = bench("check", "voc", *part)
    assert check.returncode == 0 and "incomplete: train has 5 images" in check.stdout
    report = json.loads(bench("check", "voc", "--json", *part).stdout)
    assert report["counts"] == {"train": 5, "val": 2}
    assert sum("incomplete" in note or "prepared from" in note for note in report["notes"]) == 3
