"""ADE20K from a small archive in the official layout: 0 to void, 1 to 150 to the classes, and what must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.errors import BenchError
from datasets.ade20k import Ade20k
from datasets.official.official import OfficialConfig
from datasets.protocols.files import read_split_list
from tests.datasets.archived import ADE, ade_files, ade_labels, encoded, write_tree, write_zip


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ade20k, "published", {split: len(ids) for split, ids in ADE.items()})
    monkeypatch.setattr(Ade20k, "checksums", {})


def prepared(root: Path, source: Path) -> Ade20k:
    Ade20k.prepare(OfficialConfig(), root, source)
    return Ade20k(OfficialConfig(), root)


@pytest.mark.parametrize("kind", ["archive", "tree"])
def test_from_the_archive(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "from"
    if kind == "tree":
        write_tree(source, ade_files())
    else:
        write_zip(source / "ADEChallengeData2016.zip", ade_files())
    dataset = prepared(tmp_path / "out", source)
    assert dataset.ids("train") == ADE["train"] and dataset.ids("val") == ADE["val"]
    for image_id in (*ADE["train"], *ADE["val"]):
        labels = ade_labels(image_id).astype(int)
        mask = dataset.mask(image_id)
        np.testing.assert_array_equal(mask[labels > 0], labels[labels > 0] - 1)
        assert (mask[labels == 0] == 255).all()
        with Image.open(dataset.mask_path(image_id)) as image:
            drawn = np.asarray(image.convert("RGB"))
        assert (drawn[labels == 1] == (120, 120, 120)).all() and (drawn[labels == 150] == (92, 0, 255)).all()
    assert dataset.check().problems == []


def test_lists_of_unimatch_v2_are_read(tmp_path: Path) -> None:
    write_tree(tmp_path / "from", ade_files())
    dataset, path = prepared(tmp_path / "out", tmp_path / "from"), tmp_path / "labeled.txt"
    some = ADE["train"][::-2]
    path.write_text("".join(f"images/training/{i}.jpg annotations/training/{i}.png\n" for i in some))
    assert read_split_list(path, dataset) == some


def test_masks_that_were_shifted_are_refused(tmp_path: Path) -> None:
    name = "ADEChallengeData2016/annotations/training/ADE_train_00000007.png"
    shifted = (ade_labels("ADE_train_00000007").astype(int) - 1) % 256
    shifted[0, 0] = 255
    write_tree(tmp_path / "from", {**ade_files(), name: encoded(shifted.astype(np.uint8))})
    with pytest.raises(BenchError, match=r"ADE_train_00000007\.png: label values 255, which Ade20k's masks don't have"):
        prepared(tmp_path / "out", tmp_path / "from")


def test_classes_and_colours() -> None:
    dataset = Ade20k(OfficialConfig(), Path("/nowhere"))
    assert registry.get("dataset", "ade20k") is Ade20k
    assert len(dataset.classes) == len(set(dataset.classes)) == len(dataset.palette) == 150
    # By hand, from the challenge's list: its numbers count from 1.
    known = {
        1: "wall",
        3: "sky",
        13: "person",
        21: "car",
        57: "pool table",
        131: "screen",
        137: "traffic light",
        150: "flag",
    }
    assert {number: dataset.classes[number - 1] for number in known} == known
    assert dataset.palette[2] == (6, 230, 230) and dataset.palette[12] == (150, 5, 61)
    assert dataset.few_labels_min_classes == 10


def test_photographs_that_it_does_not_have_are_refused() -> None:
    with pytest.raises(BenchError, match=r"unlabelled: Ade20k has no photographs called 'test'"):
        Ade20k(OfficialConfig(unlabelled="test"), Path("/nowhere"))
