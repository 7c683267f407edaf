"""Folders as people have them: the proposal's masks are those that were drawn, read through the dataset itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.seeds import rng
from datasets.folder import Folder, FolderConfig
from datasets.proposal.propose import Proposal, propose
from datasets.proposal.writing import write_proposal

PALETTE = np.array([[0, 0, 0], [128, 64, 128], [220, 20, 60]], np.uint8)
Write = Callable[[Path, int], tuple[Path, np.ndarray]]


def drawn(index: int) -> np.ndarray:
    """Return a mask of blocks of three classes."""
    return np.kron(rng(0, "own", index).integers(0, 3, (3, 4)), np.ones((4, 4))).astype(np.uint8)


def photo(path: Path, index: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = rng(1, "own", index).integers(0, 60, (12, 16, 3)) + 60 * drawn(index)[..., None]
    Image.fromarray(noise.astype(np.uint8)).save(path)
    return path


def mask(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def two_folders(root: Path, i: int) -> str:
    photo(root / f"photos/IMG ({i}).JPG", i)
    mask(root / f"labels/IMG ({i}).png", drawn(i))
    return f"IMG ({i})"


def tagged(root: Path, i: int) -> str:
    photo(root / f"all/DSC{i:04d}.png", i)
    mask(root / f"all/DSC{i:04d}_mask.png", PALETTE[drawn(i)])
    return f"all/DSC{i:04d}"


def split_first(root: Path, i: int) -> str:
    split = "valid" if i % 4 == 0 else "train"
    photo(root / f"{split}/images/{i}.tif", i)
    mask(root / f"{split}/masks/{i}.bmp", drawn(i))
    return f"{split}/{i}"


def cities(root: Path, i: int) -> str:
    name = f"ulm/ulm_{i:06d}"
    photo(root / f"leftImg8bit/{name}_leftImg8bit.png", i)
    mask(root / f"gtFine/{name}_gtFine_labelIds.png", drawn(i))
    return name


def folder_each(root: Path, i: int) -> str:
    photo(root / f"case{i}/img.png", i)
    mask(root / f"case{i}/label.png", drawn(i))
    return f"case{i}"


def with_overlays(root: Path, i: int) -> str:
    path = photo(root / f"a/{i}.png", i)
    mask(root / f"b/{i}.png", drawn(i))
    overlay = np.asarray(Image.open(path)) // 2 + PALETTE[drawn(i)] // 2
    (root / "c").mkdir(exist_ok=True)
    Image.fromarray(overlay).save(root / f"c/{i}.png")
    return f"{i}"


def opened(root: Path, proposal: Proposal) -> Folder:
    options = {key: value for key, value in proposal.block.items() if key != "name"}
    return Folder(FolderConfig.model_validate(options), root)


@pytest.mark.parametrize("lay", [two_folders, tagged, split_first, cities, folder_each, with_overlays])
def test_layouts(tmp_path: Path, lay: Callable[[Path, int], str]) -> None:
    ids = {lay(tmp_path, i): i for i in range(16)}
    write_proposal(tmp_path, found := propose(tmp_path))
    dataset = opened(tmp_path, found)
    assert sorted([*dataset.ids("train"), *dataset.ids("val")]) == sorted(ids)
    assert len(dataset.ids("val")) == 4
    for image_id, i in ids.items():
        assert np.array_equal(dataset.mask(image_id), drawn(i))
        assert dataset.image(image_id).shape == (12, 16, 3)
    assert dataset.classes == ("background", "class_1", "class_2")
    assert dataset.check().problems == []


def test_photographs_without_masks_are_training_images(tmp_path: Path) -> None:
    for i in range(10):
        two_folders(tmp_path, i)
    for i in range(10, 14):
        photo(tmp_path / f"photos/new {i}.jpg", i)
        photo(tmp_path / f"more/{i}.jpg", 100 + i)
    write_proposal(tmp_path, found := propose(tmp_path))
    dataset = opened(tmp_path, found)
    assert found.counts == {"train": (8, 4), "val": (2, 0)}
    assert found.block["unlabelled_images"] == "more"
    assert len(dataset.ids("train")) == 8 + 4 + 4 and len(dataset.annotated) == 8
    assert dataset.ids("train")[-4:] == tuple(f"more/{i}" for i in range(10, 14))


def test_frames_of_a_sequence_stay_on_one_side(tmp_path: Path) -> None:
    for i in range(30):
        photo(tmp_path / f"images/{'abc'[i % 3]}_{i:03d}.png", i)
        mask(tmp_path / f"masks/{'abc'[i % 3]}_{i:03d}.png", drawn(i))
    assert any("3 sequences" in note for note in propose(tmp_path).notes)
    lists = propose(tmp_path, groups="prefix").lists
    assert {i[0] for i in lists["train"]}.isdisjoint({i[0] for i in lists["val"]})
    assert len(lists["val"]) == 10
    rows = "".join(f"{'abc'[i % 3]}_{i:03d}.png,{i // 15}\n" for i in range(30))
    (tmp_path / "rooms.csv").write_text("file,room\n" + rows)
    lists = propose(tmp_path, groups="rooms.csv:room").lists
    assert len(lists["val"]) == 15 and len({int(i[2:]) // 15 for i in lists["val"]}) == 1


def test_lists_and_class_names_that_are_there_are_used(tmp_path: Path) -> None:
    for i in range(6):
        folder_name = "train" if i < 4 else "val"
        photo(tmp_path / f"images/{i}.png", i)
        mask(tmp_path / f"masks/{i}.png", drawn(i))
        (tmp_path / "sets").mkdir(exist_ok=True)
        with (tmp_path / f"sets/{folder_name}.txt").open("a") as file:
            file.write(f"{i}\n")
    (tmp_path / "classes.txt").write_text("ground\nhouse\ntree\n")
    found = propose(tmp_path)
    assert (found.block["lists"], found.block["classes_file"], found.lists) == ("sets", "classes.txt", {})
    assert found.counts == {"train": (4, 0), "val": (2, 0)}


def test_the_draw_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for i in range(20):
        two_folders(tmp_path, i)
    assert propose(tmp_path, seed=1).lists == propose(tmp_path, seed=1).lists != propose(tmp_path, seed=2).lists
    three = propose(tmp_path, val=0.25, test=0.1).lists
    assert {split: len(ids) for split, ids in three.items()} == {"train": 13, "val": 5, "test": 2}


def test_nothing_is_written_over(tmp_path: Path) -> None:
    for i in range(6):
        two_folders(tmp_path, i)
    write_proposal(tmp_path, propose(tmp_path))
    write_proposal(tmp_path, propose(tmp_path))  # the same again
    block = tmp_path / "dataset.yaml"
    block.write_text(block.read_text().replace("class_1", "wall"))
    with pytest.raises(BenchError, match=r"dataset\.yaml: there already"):
        write_proposal(tmp_path, propose(tmp_path))
    assert "wall" in block.read_text()
    write_proposal(tmp_path, propose(tmp_path), force=True)
    assert "wall" not in block.read_text()


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no images in it"):
        propose(tmp_path)
    for i in range(4):
        photo(tmp_path / f"{i}.jpg", i)
    with pytest.raises(BenchError, match="no masks found"):
        propose(tmp_path)
    for i in range(4):
        two_folders(tmp_path, i)
    with pytest.raises(BenchError, match="shares above 0"):
        propose(tmp_path, val=0)
    with pytest.raises(BenchError, match="--groups nonsense"):
        propose(tmp_path, groups="nonsense")
    with pytest.raises(BenchError, match="1 groups are too few"):
        propose(tmp_path, groups="folder")
