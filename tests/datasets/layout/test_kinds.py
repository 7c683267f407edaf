"""Kinds of files that people have: what is read, converted or refused, alike by check, plan and training."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.arrays import UInt8
from bench.errors import BenchError
from tests.datasets.made import labels, make_voc, open_voc, picture

IMAGE, MASK = "JPEGImages/d.png", "SegmentationClass/d.png"


def palette(image_id: str) -> Image.Image:
    found = Image.fromarray(labels(image_id))
    found.putpalette([value for i in range(256) for value in (i, i // 2, 255 - i)])
    return found


def deep_png(pixels: UInt8) -> bytes:
    """Return an RGB PNG of 16 bits per channel, whose upper bytes are these pixels: Pillow writes none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + (row.astype(">u2") << 8).astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def with_alpha(root: Path) -> None:
    Image.fromarray(np.dstack([picture("d"), np.full((12, 16), 7, np.uint8)])).save(root / IMAGE)


def turned_image(root: Path) -> None:
    Image.fromarray(picture("d")).save(root / IMAGE, exif=turned(6))


def turned_mask(root: Path) -> None:
    Image.fromarray(labels("d")).save(root / MASK, exif=turned(3))


AS_STORED: list[Callable[[Path], None]] = [
    lambda root: palette("d").save(root / MASK, transparency=0),
    lambda root: palette("d").save(root / MASK, transparency=bytes([0, 128, 255])),
    with_alpha,
    turned_image,
    turned_mask,
]


@pytest.mark.parametrize(
    "plant", AS_STORED, ids=["one transparent", "palette with alpha", "alpha", "EXIF", "mask EXIF"]
)
def test_pixels_are_read_as_they_are_stored(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    """Alpha isn't looked at, and EXIF's orientation isn't followed, which is said."""
    root = make_voc(tmp_path)
    plant(root)
    dataset = open_voc(root)
    assert np.array_equal(dataset.image("d"), picture("d")) and np.array_equal(dataset.mask("d"), labels("d"))
    said = ["1 images are turned by EXIF (d)"] if plant is turned_image else []
    assert [line.split(",")[0] for line in dataset.health().warnings] == said
    report = dataset.check()
    assert report.problems == dataset.health().problems == []
    assert [note.split(",")[0] for note in report.notes if "EXIF" in note] == said


def test_a_palettes_colours_are_read_without_a_warning(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    palette("d").save(root / IMAGE, transparency=bytes([0, 128, 255]))
    stored = labels("d").astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_voc(root).image("d")
    assert np.array_equal(found, np.dstack([stored, stored // 2, 255 - stored]))


def test_masks_of_one_bit_are_classes_0_and_1(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    for image_id in "abcdef":
        Image.fromarray(labels(image_id) == 1).save(root / f"SegmentationClass/{image_id}.png")
    dataset = open_voc(root)
    assert np.array_equal(dataset.mask("d"), labels("d") == 1)
    assert dataset.check().problems == dataset.health().problems == []


def deep_image(root: Path) -> None:
    Image.fromarray(picture("d")[..., 0].astype(np.uint16) * 200).save(root / IMAGE)


def deep_colours(root: Path) -> None:
    (root / IMAGE).write_bytes(deep_png(picture("d")))


def deep_mask(root: Path) -> None:
    Image.fromarray(labels("d").astype(np.uint16)).save(root / MASK)


def fifo(name: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return plant


def device(root: Path) -> None:
    (root / IMAGE).unlink()
    (root / IMAGE).symlink_to("/dev/zero")


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "16 bits, grey": (deep_image, "d.png: more than 8 bits per channel (mode I;16); save it as an 8-bit image"),
    "16 bits, RGB": (
        deep_colours,
        "d.png: more than 8 bits per channel (mode RGB;16); save it as an 8-bit image",
    ),
    "16 bits, mask": (deep_mask, "d.png: not an 8-bit index mask (mode I;16)"),
    "alpha, mask": (
        lambda root: Image.new("LA", (16, 12), (1, 7)).save(root / MASK),
        "d.png: not an 8-bit index mask (mode LA)",
    ),
    "FIFO, image": (fifo(IMAGE), "d.png: can't be read (a FIFO)"),
    "FIFO, mask": (fifo(MASK), "d.png: can't be read (a FIFO)"),
    "device": (device, "d.png: can't be read (a device)"),
    "empty": (lambda root: (root / IMAGE).open("wb").close(), "not an image in a format that is read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_training_refuses_check_and_plan_refuse(tmp_path: Path, kind: str) -> None:
    root, (plant, said) = make_voc(tmp_path), REFUSED[kind]
    plant(root)
    dataset = open_voc(root)
    with pytest.raises(BenchError, match=r"d\.png") as error:
        (dataset.image("d"), dataset.mask("d"))
    for problems in (dataset.check().problems, dataset.health().problems, [str(error.value)]):
        assert len(problems) == 1 and said in problems[0]


@pytest.mark.parametrize("name", ["ImageSets/Segmentation/val.txt", "classes.txt"])
def test_lists_that_would_never_end_are_refused(tmp_path: Path, name: str) -> None:
    root = make_voc(tmp_path)
    fifo(name)(root)
    assert any(f"{name}: can't be read (a FIFO)" in problem for problem in open_voc(root).check().problems)
    with pytest.raises(BenchError, match="a FIFO"):
        open_voc(root).health()
