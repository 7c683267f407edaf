"""Lists, class names, images and masks: what is read, and how what can't be is reported."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.seeds import rng
from datasets.layout.files import (
    decode_rgb,
    escapes,
    find_image,
    illegal_labels,
    load_index_mask,
    load_rgb,
    on_threads,
    read_classes,
    read_lines,
)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_lines_with_any_ending(tmp_path: Path, ending: str, bom: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes((bom + ending.join(["a", " b\t", "", "c"])).encode())
    assert read_lines(path) == ["a", "b", "", "c"]


def test_lines_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "folder").mkdir()
    for name, why in [("none", "no such file"), ("binary", "UTF-8"), ("folder", "can't be read")]:
        with pytest.raises(BenchError, match=f"{name}: .*{why}"):
            read_lines(tmp_path / name)


def test_classes(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("sky\nroad works\n\n")
    assert read_classes(path) == ("sky", "road works")


@pytest.mark.parametrize(
    ("text", "why"),
    [("a\n\nb\n", "line 2 is blank"), ("a\nb\na\n", "line 3 names class 'a' a second"), ("\n", "0 classes")],
)
def test_bad_classes(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(BenchError, match=why):
        read_classes(path)


def test_too_many_classes(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(map(str, range(256))))
    with pytest.raises(BenchError, match="256 classes; there must be 1 to 255"):
        read_classes(path)


@pytest.mark.parametrize("text", ["/etc/passwd", "../a", "a/../../b", "..", "a\\b", "a\0b"])
def test_paths_that_escape(text: str) -> None:
    assert escapes(text)


@pytest.mark.parametrize("text", ["a", "city/a.b", "2007_000032", "a..b", "."])
def test_paths_that_stay(text: str) -> None:
    assert not escapes(text)


def test_image_suffixes(tmp_path: Path) -> None:
    assert find_image(tmp_path, "a").name == "a.jpg"
    for suffix in (".png", ".jpeg", ".jpg"):
        (tmp_path / f"a{suffix}").touch()
        assert find_image(tmp_path, "a").suffix == suffix


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_rgb_from_any_8_bit_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (5, 4), (200, 10, 10)).convert(mode).save(path)
    image = load_rgb(path)
    assert (image.mode, image.size) == ("RGB", (5, 4))


SAVED: list[tuple[str, dict[str, Any]]] = [
    ("RGB", {"quality": 95, "subsampling": 0}),
    ("RGB", {"quality": 40, "subsampling": 1}),
    ("RGB", {"quality": 75, "subsampling": 2}),
    ("RGB", {"progressive": True, "optimize": True}),
    ("RGB", {"keep_rgb": True}),
    ("L", {}),
    ("CMYK", {}),
]


@pytest.mark.parametrize(("mode", "options"), SAVED)
def test_pixels_are_those_that_pillow_decodes(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    """Every kind of JPEG, odd sizes and a name that says PNG included."""
    path = tmp_path / "a.png"
    for size in ((37, 53), (16, 16), (1, 1)):
        noise = rng(0, "pixels", *size).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(noise).convert(mode).save(path, format="JPEG", **options)
        np.testing.assert_array_equal(decode_rgb(path), np.array(Image.open(path).convert("RGB")))


def test_modes_that_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(BenchError, match=r"deep\.png: more than 8 bits"):
        load_rgb(tmp_path / "deep.png")
    for name in ("deep.png", "colour.png"):
        with pytest.raises(BenchError, match=f"{name}: not an 8-bit index mask"):
            load_index_mask(tmp_path / name)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    """Cut off and altered files either decode or are a BenchError of one line that names the file."""
    draw = rng(0, "damage")
    image = Image.fromarray(draw.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    refused = 0
    for suffix in (".png", ".jpg"):
        good = tmp_path / f"good{suffix}"
        image.save(good)
        content = bytearray(good.read_bytes())
        for cut in range(100):
            broken = content[: int(draw.integers(len(content)))] if cut % 2 else content[:]
            for place in draw.integers(0, len(broken) + 1, 3):
                broken[place : place + 1] = bytes([int(draw.integers(256))])
            path = tmp_path / f"broken{suffix}"
            path.write_bytes(broken)
            try:
                decoded = np.array(load_rgb(path))
            except BenchError as error:
                refused += 1
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
                with pytest.raises(BenchError, match=re.escape(str(error))):
                    decode_rgb(path)
            else:
                np.testing.assert_array_equal(decode_rgb(path), decoded)
    assert refused > 100


def test_another_format_under_a_png_name_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png", format="TIFF")
    with pytest.raises(BenchError, match="unreadable"):
        load_index_mask(tmp_path / "a.png")


def test_illegal_labels() -> None:
    mask = Image.fromarray(np.array([[0, 2, 3, 254, 255]], np.uint8))
    assert illegal_labels(mask.histogram(), 3) == [3, 254]
    assert illegal_labels(mask.histogram(), 255) == []


def test_threads_keep_order_and_report() -> None:
    seen: list[tuple[int, int]] = []
    assert on_threads(lambda x: x * x, range(50), lambda *a: seen.append(a)) == [x * x for x in range(50)]
    assert seen == [(i + 1, 50) for i in range(50)]


def test_an_error_drops_what_has_not_begun() -> None:
    begun, gate = [], threading.Event()

    def work(item: int) -> None:
        if item == 0:
            gate.wait(0.05)
            raise BenchError("broken")
        gate.wait(0.01)
        begun.append(item)

    with pytest.raises(BenchError, match="broken"):
        on_threads(work, range(2000))
    assert len(begun) < 1000
