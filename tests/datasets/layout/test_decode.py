"""Images and masks: what is decoded, and how what can't be is reported."""

from __future__ import annotations

import contextlib
import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.seeds import rng
from datasets.layout.decode import decode_rgb, load_index_mask, load_rgb, read_header


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
    with pytest.raises(BenchError, match="a TIFF by content, not the PNG that its name says"):
        load_index_mask(tmp_path / "a.png")


def test_a_jpeg_called_png_is_no_mask(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(BenchError, match=r"a\.png: a JPEG by content, which changes class indices"):
        load_index_mask(tmp_path / "a.png")


def test_every_changed_bit_of_a_pngs_pixels_is_damage(tmp_path: Path) -> None:
    """Pillow alone decodes some of them to other labels without a word."""
    draw, labels = rng(0, "bits"), rng(1, "bits").integers(0, 3, (64, 64)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "PNG")
    content = file.getvalue()
    begin, silent = content.index(b"IDAT") + 4, 0
    for _ in range(200):
        broken, place = bytearray(content), int(draw.integers(begin, len(content) - 16))
        broken[place] ^= 1 << int(draw.integers(8))
        path = tmp_path / "a.png"
        path.write_bytes(broken)
        with contextlib.suppress(OSError, SyntaxError, ValueError, zlib.error):
            silent += not np.array_equal(np.array(Image.open(path)), labels)
        for load in (load_index_mask, load_rgb, decode_rgb):
            with pytest.raises(BenchError, match=r"a\.png: "):
                load(path)
    assert silent, "no case was drawn in which Pillow gives other labels"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_whose_middle_was_overwritten_is_damage(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.jpg"
    noise = rng(0, "jpeg").integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 400] = bytes(400)
    path.write_bytes(content)
    np.array(Image.open(path))  # Pillow has nothing to say
    for load in (load_rgb, decode_rgb):
        with pytest.raises(BenchError, match=r"a\.jpg: damaged \("):
            load(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", [False, True])
def test_masks_of_few_bits_keep_their_stored_values(tmp_path: Path, bits: int, palette: bool) -> None:
    """Written by hand, since Pillow writes no grey of 2 or 4 bits; read back by its bytes."""
    values = (np.arange(64).reshape(8, 8) % (1 << bits)).astype(np.uint8)
    stored = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(8, -1), axis=-1)
    lines = b"".join(b"\0" + row.tobytes() for row in stored)
    colours = bytes(range(256)) * 3
    chunks = [(b"IHDR", (8).to_bytes(4, "big") * 2 + bytes([bits, 3 if palette else 0, 0, 0, 0]))]
    chunks += [(b"PLTE", colours[: 3 << bits])] if palette else []
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
            for kind, data in chunks
        )
    )
    np.testing.assert_array_equal(np.array(load_index_mask(path)), values)


def test_headers(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg", exif=exif)
    header = read_header(tmp_path / "a.jpg")
    assert (header.size, header.format, header.mode, header.orientation) == ("5x4", "JPEG", "RGB", 6)
    (tmp_path / "b.jpg").write_text("no image")
    for name, why in (("b.jpg", "unreadable image"), ("c.jpg", "missing")):
        with pytest.raises(BenchError, match=f"{name}: {why}"):
            read_header(tmp_path / name)


def test_too_many_pixels(tmp_path: Path) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    with pytest.raises(BenchError, match=r"a\.png: 40x30 pixels, more than max_pixels \(1,199\)"):
        load_index_mask(tmp_path / "a.png", max_pixels=1199)
    assert load_index_mask(tmp_path / "a.png", max_pixels=1200).size == (40, 30)
