"""Files found by id: suffixes in any case, patterns, ambiguity, and what a missing file's message names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from datasets.layout.places import Places

SUFFIXES = (".jpg", ".png", ".tif")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.Png", "a.TIF"])
def test_suffixes_in_any_case(tmp_path: Path, name: str) -> None:
    places = Places(touch(tmp_path, f"images/{name}"), "images", SUFFIXES, "image")
    assert places.find("a") == tmp_path / "images" / name


def test_one_file_or_an_error_that_names_all(tmp_path: Path) -> None:
    places = Places(touch(tmp_path, "images/a.jpg", "images/a.PNG", "images/a.b.jpg"), "images", SUFFIXES, "image")
    assert places.find("a.b") == tmp_path / "images/a.b.jpg"
    assert places.find("a", but=tmp_path / "images/a.PNG") == tmp_path / "images/a.jpg"
    with pytest.raises(BenchError, match=r"images: 'a' names several files that could be its image: a\.PNG, a\.jpg"):
        places.find("a")


def test_only_the_mask_is_there(tmp_path: Path) -> None:
    places = Places(touch(tmp_path, "all/a.png"), "all", SUFFIXES, "image")
    assert places.find("a", but=tmp_path / "all/a.png") is None


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("masks/{id}_seg.png", "masks/x/a_seg.png"),
        ("masks/{id}_seg.png", "masks/x/a_seg.PNG"),
        ("{id}/label", "x/a/label.png"),
        ("{id}/{id}.gt", "x/a/x/a.gt.tif"),
        ("masks", "masks/x/a.png"),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, name: str) -> None:
    places = Places(touch(tmp_path, name, "masks/x/b_seg.png"), pattern, SUFFIXES, "mask")
    assert places.find("x/a") == tmp_path / name
    assert places.id_of(tmp_path / name) == "x/a"
    assert places.id_of(tmp_path / "elsewhere/x/a.png") is None


def test_a_patterns_suffix_is_the_only_one(tmp_path: Path) -> None:
    touch(tmp_path, "masks/a.tif", "masks/b.png")
    assert Places(tmp_path, "masks/{id}.png", SUFFIXES, "mask").find("a") is None
    assert Places(tmp_path, "masks/{id}.png", SUFFIXES, "mask").find("b") is not None


@pytest.mark.parametrize("other", ["A.jpg", "a.heic", "a.jpg.jpg", "Ä.jpg"])
def test_what_lies_there_instead_is_named(tmp_path: Path, other: str) -> None:
    image_id = {"a.jpg.jpg": "a.jpg.jpg", "Ä.jpg": "a\u0308"}.get(other, "a")
    text = Places(touch(tmp_path, f"images/{other}"), "images", SUFFIXES, "image").missing(image_id)
    assert text == f"{tmp_path}/images: no image '{image_id}' (.jpg, .png, .tif); there is {other}"


def test_new_files_are_found_on_the_next_look(tmp_path: Path) -> None:
    places = Places(tmp_path, "images", SUFFIXES, "image")
    assert places.find("a") is None and places.nominal("a") == tmp_path / "images/a.jpg"
    touch(tmp_path, "images/a.jpg")
    places.look_again()
    assert places.find("a") == tmp_path / "images/a.jpg"
