"""What masks' values and colours mean: many to one, void, files of others' tools, and unlisted values refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.seeds import rng
from datasets.layout.label_map import LabelMap, as_pairs, read_label_map

COLOURS = {"#000000": "void", "#804080": "road", "128 0 0": "road", "[0, 255, 7]": "tree"}
RGB = np.array([[0, 0, 0], [128, 64, 128], [128, 0, 0], [0, 255, 7]], np.uint8)


def test_values_many_to_one(tmp_path: Path) -> None:
    label_map = LabelMap(as_pairs({"0": "void", "7": "wall", "3": "floor", "8": "wall"}))
    assert label_map.classes == ("wall", "floor") and label_map.palette is None
    stored = np.array([[0, 7, 3], [8, 8, 0]], np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png")
    assert np.asarray(label_map.read(tmp_path / "a.png")).tolist() == [[255, 0, 1], [0, 0, 255]]
    Image.fromarray(stored + 1).save(tmp_path / "b.png")
    with pytest.raises(BenchError, match=r"b\.png: values 1, 4, 9 not in `classes`"):
        label_map.read(tmp_path / "b.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours(tmp_path: Path, mode: str) -> None:
    """With a palette too, whose indices say nothing then."""
    label_map = LabelMap(as_pairs(COLOURS))
    assert label_map.classes == ("road", "tree") and label_map.palette == [(128, 64, 128), (0, 255, 7)]
    drawn = rng(0, "colours").integers(0, 4, (9, 7))
    image = Image.fromarray(RGB[drawn])
    (image.quantize(8) if mode == "P" else image.convert(mode)).save(tmp_path / "a.png")
    expected = np.array([255, 0, 0, 1])[drawn]
    assert np.array_equal(np.asarray(label_map.read(tmp_path / "a.png")), expected)
    Image.fromarray(RGB[drawn] ^ 1).save(tmp_path / "b.png")
    with pytest.raises(BenchError, match=r"b\.png: colours #010101, #01fe06, #810101, #814181 not"):
        label_map.read(tmp_path / "b.png")


def test_transparent_colours_are_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (128, 64, 128, 7)).save(tmp_path / "a.png")
    with pytest.raises(BenchError, match=r"a\.png: has transparent pixels"):
        LabelMap(as_pairs(COLOURS)).read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"256": "a"}, "'256' is neither"),
        ({"red": "a"}, "'red' is neither"),
        ({"1": "a", "#000000": "b"}, "not both"),
        ({"1": "a", "01": "b"}, "given twice"),
        ({"1": "void"}, "0 classes"),
        ({"1": " "}, "no name"),
        ({}, "0 classes"),
    ],
)
def test_maps_that_make_no_sense(value: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        as_pairs(value)


FILES = {
    "classes.yaml": "0: void\n1: wall\n7: floor\n8: wall\n",
    "labels.csv": "name,value\nvoid,0\nwall,1\nfloor,7\nwall,8\n",
    "class_dict.csv": "Name,r,g,b\nvoid,0,0,0\nwall,1,1,1\nfloor,7,7,7\nwall,8,8,8\n",
    "hex.csv": "color,class\n#000000,void\n#010101,wall\n#070707,floor\n#080808,wall\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nvoid:0,0,0::\nwall:1,1,1::\nfloor:7,7,7::\nwall:8,8,8::\n",
}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1: "),
        ("1: wall\n1: floor\n", "line 2: the key '1' is given twice"),
        ("a: &a [x]\n" + "".join(f"k{i}: &k{i} [{'*a, ' * 9}*a]\na: &a [*k{i}]\n" for i in range(9)), "line "),
        (100_000 * "[", "line 1: more than 40 lists or mappings within each other"),
        ("1: " + 9000 * "x", "line 1: 1: a text of 9,000 characters"),
    ],
)
def test_yaml_is_read_within_bounds(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(BenchError, match=rf"a\.yaml, {re.escape(why)}"):
        read_label_map(tmp_path / "a.yaml")


def test_values_of_yaml_are_names_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("0: off\n1: 007\n2: null\n")
    assert read_label_map(tmp_path / "a.yaml").pairs == (("0", "off"), ("1", "007"), ("2", "null"))


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name])
    label_map = read_label_map(tmp_path / name)
    assert label_map.classes == ("wall", "floor")
    assert label_map.keys == ({0, 0x010101, 0x070707, 0x080808} if label_map.in_colours else {0, 1, 7, 8})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "- wall"),
        ("a.yaml", "0: [a]"),
        ("a.csv", "a,b\n1,2\n"),
        ("a.csv", "name\nx\n"),
        ("a.csv", ""),
        ("a.txt", "wall"),
        ("a.txt", "wall:red"),
    ],
)
def test_files_that_are_no_maps(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BenchError, match=f"{name}: not a map of classes"):
        read_label_map(tmp_path / name)
