"""Lists in the shape of other repositories' lists, and lists that make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench import registry
from bench.errors import BenchError
from datasets.protocols.files import Files, FilesConfig
from datasets.split import Split
from tests.datasets.made import Listed

VOC = ("2007_000101", "2007_000102", "2008_000103", "2008_000104")
CITY = ("ulm_000000_000019", "ulm_000001_000019", "bonn_000000_000019", "bonn_000001_000019")
COCO = ("000000000009", "000000000025", "000000000030")

# (repository, ids of the dataset, list, ids that it names)
LISTS = {
    "UniMatch on VOC": (
        VOC,
        "JPEGImages/2008_000104.jpg SegmentationClass/2008_000104.png\n"
        "JPEGImages/2007_000101.jpg SegmentationClass/2007_000101.png",
        (VOC[3], VOC[0]),
    ),
    "UniMatch on Cityscapes": (
        CITY,
        "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png "
        "gtFine/train/ulm/ulm_000001_000019_gtFine_labelTrainIds.png\n"
        "leftImg8bit/train/bonn/bonn_000000_000019_leftImg8bit.png "
        "gtFine/train/bonn/bonn_000000_000019_gtFine_labelTrainIds.png\n",
        (CITY[1], CITY[2]),
    ),
    "UniMatch on COCO": (COCO, "train2017/000000000025.jpg masks/000000000025.png\n", COCO[1:2]),
    "U2PL on VOC": (VOC, "2007_000102\n2008_000103", VOC[1:3]),
    "U2PL on Cityscapes": (CITY, "leftImg8bit/train/bonn/bonn_000001_000019_leftImg8bit.png\n", CITY[3:]),
    "CPS on VOC, pseudoseg": (VOC, "2007_000102\r\n2007_000101", (VOC[1], VOC[0])),
    "CPS on Cityscapes": (
        CITY,
        "/images/train/ulm_000000_000019.png\t/segmentation/train/ulm_000000_000019_gtFine.png\n"
        "/images/train/bonn_000001_000019.png\t/segmentation/train/bonn_000001_000019_gtFine.png\n",
        (CITY[0], CITY[3]),
    ),
    "PixelSSL": (VOC, "2008_000104\n2007_000102\n2007_000101\n", (VOC[3], VOC[1], VOC[0])),
}


def write(path: Path, text: str) -> str:
    path.write_bytes(text.encode())
    return str(path)


def read(tmp_path: Path, ids: tuple[str, ...], labelled: str, unlabelled: str | None = None, **options: Any) -> Split:
    config = FilesConfig(
        labelled=write(tmp_path / "labeled.txt", labelled),
        unlabelled=None if unlabelled is None else write(tmp_path / "unlabeled.txt", unlabelled),
        **options,
    )
    return Files(config).split(Listed(ids), seed=0)


@pytest.mark.parametrize("name", LISTS)
def test_lists_as_they_are(tmp_path: Path, name: str) -> None:
    ids, text, expected = LISTS[name]
    split = read(tmp_path, ids, text)
    assert split.labelled == expected
    assert split.unlabelled == tuple(i for i in ids if i not in expected)


def test_ids_with_the_city_folder(tmp_path: Path) -> None:
    """The same lists fit a dataset that keeps Cityscapes' folders in its ids."""
    ids = tuple(f"{i.split('_')[0]}/{i}" for i in CITY)
    for name in ("UniMatch on Cityscapes", "U2PL on Cityscapes", "CPS on Cityscapes"):
        _, text, expected = LISTS[name]
        assert read(tmp_path, ids, text).labelled == tuple(f"{i.split('_')[0]}/{i}" for i in expected)


def test_the_longest_end_of_a_path_counts(tmp_path: Path) -> None:
    ids = ("a/1x", "b/1x", "2x")
    assert read(tmp_path, ids, "images/b/1x.png\nanywhere/2x.jpg\n").labelled == ("b/1x", "2x")
    with pytest.raises(
        BenchError, match="1 of 2 lines name no training image of the dataset, or more than one: line 1"
    ):
        read(tmp_path, ids, "images/1x.png\n2x")


def test_ids_with_spaces_and_dots(tmp_path: Path) -> None:
    assert read(tmp_path, ("holiday 1", "v1.2", "b"), "holiday 1\nimages/v1.2.png masks/v1.2.png").labelled == (
        "holiday 1",
        "v1.2",
    )


def test_two_lists(tmp_path: Path) -> None:
    split = read(tmp_path, VOC, f"{VOC[0]}\n", f"{VOC[2]}\n{VOC[1]}\n")
    assert (split.labelled, split.unlabelled) == (VOC[:1], (VOC[2], VOC[1]))
    with pytest.raises(BenchError, match=r"unlabeled\.txt: 1 of 4 images .* labelled images too: 2007_000101"):
        read(tmp_path, VOC, f"{VOC[0]}\n", "\n".join(VOC))
    both = read(tmp_path, VOC, f"{VOC[0]}\n", "\n".join(VOC), overlap="allow")
    assert (both.labelled, both.unlabelled) == (VOC[:1], VOC)


def test_unknown_ids_in_one_error(tmp_path: Path) -> None:
    text = "\n".join(["2007_000101", "", "x1", "x2.jpg", "x3", "x4"])
    with pytest.raises(BenchError) as caught:
        read(tmp_path, VOC, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'labeled.txt'}: 4 of 5 lines name no training image")
    assert message.endswith(
        "line 3 'x1' (no such image), line 4 'x2.jpg' (no such image), line 5 'x3' (no such image), …"
    )


@pytest.mark.parametrize("text", ["0\n17\n203\n", "3"])
def test_positions_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BenchError, match=r"labeled\.txt: positions in a list .*give ids or image paths"):
        read(tmp_path, VOC, text)


def test_ids_that_are_numbers_are_no_positions(tmp_path: Path) -> None:
    assert read(tmp_path, ("12", "7", "3"), "7\n12\n").labelled == ("7", "12")


def test_an_image_twice(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"line 3 'JPEGImages/2007_000101.jpg' names the same image as line 1"):
        read(tmp_path, VOC, "2007_000101\n2007_000102\nJPEGImages/2007_000101.jpg\n")


@pytest.mark.parametrize("text", ["", "\n \r\n"])
def test_empty_lists(tmp_path: Path, text: str) -> None:
    for labelled, unlabelled in ((text, None), (VOC[0], text)):
        with pytest.raises(BenchError, match="an empty list"):
            read(tmp_path, VOC, labelled, unlabelled)


def test_missing_list(tmp_path: Path) -> None:
    protocol = Files(FilesConfig(labelled=str(tmp_path / "none.txt")))
    with pytest.raises(BenchError, match=r"none\.txt: there is no such file"):
        protocol.split(Listed(VOC), 0)
    with pytest.raises(BenchError, match=r"none\.txt: there is no such file"):
        _ = protocol.title


def test_nothing_left_unlabelled(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="names every training image"):
        read(tmp_path, VOC, "\n".join(VOC))


def test_a_repositorys_draws_are_those_of_the_seeds(tmp_path: Path) -> None:
    """As ST++ keeps them: three draws of one budget."""
    for draw, ids in enumerate([VOC[:2], VOC[1:3], VOC[2:]]):
        (tmp_path / f"split_{draw}").mkdir()
        for name, found in (("labeled", ids), ("unlabeled", [i for i in VOC if i not in ids])):
            write(tmp_path / f"split_{draw}" / f"{name}.txt", "\n".join(found))
    config = FilesConfig(
        labelled=str(tmp_path / "split_{seed}" / "labeled.txt"),
        unlabelled=str(tmp_path / "split_{seed}" / "unlabeled.txt"),
    )
    protocol = Files(config)
    assert protocol.title == "2"
    splits = [protocol.split(Listed(VOC), seed) for seed in range(3)]
    assert [split.labelled for split in splits] == [VOC[:2], VOC[1:3], VOC[2:]]
    assert splits[1].unlabelled == (VOC[0], VOC[3])
    with pytest.raises(BenchError, match=r"split_3/labeled\.txt"):
        protocol.split(Listed(VOC), 3)


def test_title_and_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies of the same lists are the same cell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "l.txt", "a\n\nb\r\nc")
    assert Files(FilesConfig(labelled="~/l.txt")).title == "3"
    assert Files(FilesConfig(labelled="~/l.txt", title="1/16")).title == "1/16"
    assert FilesConfig(labelled="x", unlabelled="y", title="z").identity() == {}
    for bad in ({}, {"labelled": ""}, {"labelled": "x", "unlabeled": "y"}):
        with pytest.raises(ValidationError):
            FilesConfig.model_validate(bad)
    assert registry.get("protocol", "files") is Files
    assert Files.shorthand in FilesConfig.model_fields


def test_draws_of_one_budget(tmp_path: Path) -> None:
    """ST++'s lists for VOC: image and mask path, three draws a budget in folders split_0 to split_2."""
    for draw, ids in enumerate((VOC[:2], VOC[1:3], VOC[2:])):
        folder = tmp_path / "pascal [2]" / "2" / f"split_{draw}"
        folder.mkdir(parents=True)
        for name, listed in (("labeled", ids), ("unlabeled", [i for i in VOC if i not in ids])):
            text = "".join(f"JPEGImages/{i}.jpg SegmentationClass/{i}.png\n" for i in listed)
            write(folder / f"{name}.txt", text)
    base = tmp_path / "pascal [2]" / "2" / "split_{seed}"
    protocol = Files(FilesConfig(labelled=f"{base}/labeled.txt", unlabelled=f"{base}/unlabeled.txt"))
    splits = [protocol.split(Listed(VOC), seed) for seed in range(3)]
    assert [split.labelled for split in splits] == [VOC[:2], VOC[1:3], VOC[2:]]
    assert [split.unlabelled for split in splits] == [VOC[2:], (VOC[0], VOC[3]), VOC[:2]]
    assert protocol.title == "2"  # the same for all draws
    single = Files(FilesConfig(labelled=f"{tmp_path}/pascal [2]/2/split_1/labeled.txt"))
    assert single.split(Listed(VOC), 0).sha256 == splits[1].sha256  # the same images, however they were named
    with pytest.raises(BenchError, match=r"split_3/labeled\.txt: there is no such file; {seed} .* exist for: 0, 1, 2$"):
        protocol.split(Listed(VOC), 3)


def test_draws_without_a_first_one_and_twice_in_a_name(tmp_path: Path) -> None:
    for name in ("1/a1", "2/a2", "2/a1", "07/a07", "x/ax"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "\n".join(VOC[: 1 + int(name.endswith("2"))]))
    protocol = Files(FilesConfig(labelled=f"{tmp_path}/{{seed}}/a{{seed}}"))
    assert protocol.title == "1"
    assert protocol.split(Listed(VOC), 2).labelled == VOC[:2]
    with pytest.raises(BenchError, match=r"lists exist for: 1, 2$"):
        protocol.split(Listed(VOC), 0)
    with pytest.raises(BenchError, match="lists exist for: none"):
        _ = Files(FilesConfig(labelled=f"{tmp_path}/none/{{seed}}")).title
