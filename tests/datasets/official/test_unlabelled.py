"""Photographs without masks that datasets offer: prepared where they are asked for, listed, and hashed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from datasets.cityscapes import Cityscapes, CityscapesConfig
from datasets.coco import Coco, CocoConfig
from datasets.layout.checksums import CHECKSUMS
from datasets.official.official import OfficialDataset
from datasets.protocols.ratio import Ratio, RatioConfig
from datasets.voc import Voc, VocConfig
from tests.datasets.archived import (
    CITIES,
    COCO,
    COCO_UNLABELLED,
    TRAIN_AUG,
    VOC_VAL,
    cityscapes_files,
    coco_source,
    contents,
    encoded,
    lines,
    picture,
    values,
    voc_source,
    write_tar,
    write_zip,
)

BERN, KIEL = "bern_000000_000001", "kiel_000000_000002"
TEST = ("2008_000006", "2008_000011")


def cityscapes(folder: Path) -> None:
    images, masks = cityscapes_files()
    write_zip(folder / "leftImg8bit_trainvaltest.zip", images)
    write_zip(folder / "gtFine_trainvaltest.zip", masks)
    base = "leftImg8bit/train_extra"
    extra = {f"{base}/{i.split('_')[0]}/{i}_leftImg8bit.png": encoded(picture(i, 40, 80)) for i in (KIEL, BERN)}
    write_zip(folder / "leftImg8bit_trainextra.zip", extra)


def voc(folder: Path) -> None:
    voc_source(folder.parent, "sbd")
    base = "VOCdevkit/VOC2012"
    photographs = {f"{base}/JPEGImages/{i}.jpg": encoded(picture(i), "JPEG") for i in (*TEST, "2008_000001")}
    sets = {f"{base}/ImageSets/Segmentation/test.txt": lines(*TEST), f"{base}/ImageSets/Main/test.txt": lines("x")}
    write_tar(folder / "VOC2012test.tar", {**photographs, **sets})


def coco(folder: Path) -> None:
    masks = {f"masks/{i}.png": encoded(values(i, [0, 1, 80])) for ids in COCO.values() for i in ids}
    write_zip(coco_source(folder, unlabelled=True) / "masks.zip", masks)


Case = tuple[type[OfficialDataset], Callable[[Path], None], Any, Any, tuple[str, ...], dict[str, int]]
CASES: dict[str, Case] = {
    "train_extra": (
        *(Cityscapes, cityscapes, CityscapesConfig(size=None), CityscapesConfig(size=None, unlabelled="train_extra")),
        *((BERN, KIEL), {split: len(pairs) for split, pairs in CITIES.items()}),
    ),
    "test": (
        *(Voc, voc, VocConfig(), VocConfig(unlabelled="test")),
        *(TEST, {"train": len(TRAIN_AUG), "val": len(VOC_VAL)}),
    ),
    "unlabeled2017": (
        *(Coco, coco, CocoConfig(masks="unimatch"), CocoConfig(masks="unimatch", unlabelled="unlabeled2017")),
        *(COCO_UNLABELLED, {split: len(ids) for split, ids in COCO.items()}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_photographs_without_masks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, write, plain, asking, photographs, published = CASES[name]
    monkeypatch.setattr(kind, "published", published)
    monkeypatch.setattr(kind, "published_unlabelled", {name: len(photographs)})
    monkeypatch.setattr(kind, "checksums", {})
    source, root = tmp_path / "from", tmp_path / "out"
    write(source)
    kind.prepare(plain, root, source)
    before, labelled = contents(root), kind(plain, root).ids("train")
    with pytest.raises(BenchError, match=rf"prepared without {name}: run `data prepare` with --set unlabelled={name}"):
        kind(asking, root).ids("train")

    kind.prepare(asking, root, source)
    dataset, after = kind(asking, root), contents(root)
    assert {path for path in after if after[path] != before.get(path)} - {".preparing.lock"} == {
        *(dataset.image_path(i).relative_to(root).as_posix() for i in photographs),
        *("ImageSets/Segmentation/unlabelled.txt", CHECKSUMS, "prepared.json"),
    }
    assert dataset.ids("train") == (*labelled, *photographs) and dataset.annotated == labelled
    assert dataset.photographs == photographs and dataset.unlabelled_list() in dataset.lists(["train"])
    for image_id in photographs:
        assert dataset.image(image_id).shape == dataset.image(labelled[0]).shape
        assert not dataset.mask_path(image_id).exists()
    assert dataset.check().problems == []
    assert subprocess.run(["sha256sum", "-c", "--quiet", CHECKSUMS], cwd=root, check=False).returncode == 0
    split = Ratio(RatioConfig.model_validate({"share": "1/2"})).split(dataset, 0)
    assert set(split.labelled) <= set(labelled) and set(photographs) <= set(split.unlabelled)
    assert asking.identity() == {**plain.identity(), "unlabelled": name}

    # Without the option the folder is as it was; and a preparation without it keeps what is there.
    bare = kind(plain, root)
    assert bare.ids("train") == labelled and bare.photographs == () and bare.unlabelled_list() is None
    dataset.image_path(photographs[0]).unlink()
    kind.prepare(plain, root, source)
    assert {p: d for p, (_, d) in contents(root).items()} == {p: d for p, (_, d) in after.items()}


def test_an_archive_that_is_not_there_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, write, _, asking, _, published = CASES["train_extra"]
    monkeypatch.setattr(kind, "published", published)
    write(tmp_path / "from")
    (tmp_path / "from" / "leftImg8bit_trainextra.zip").unlink()
    with pytest.raises(BenchError, match=r"train_extra has 0 images, published are 19,998"):
        kind.prepare(asking, tmp_path / "out", tmp_path / "from")
