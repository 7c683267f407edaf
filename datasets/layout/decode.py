"""Decoding images and index masks, strictly: what a decoder complains of is damage, and is named by its file."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg

from bench.arrays import UInt8
from bench.errors import BenchError, Damaged
from bench.patience import LARGE, open_file, read_bytes
from datasets.layout.files import reason

# Suffixes, in any case, that an image's file may have.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
# Masks: formats that keep every value, by the suffix of which a mask must be.
MASK_SUFFIX = ".png"
MASK_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF"}
MASK_SUFFIXES = tuple(MASK_FORMATS)
# What Pillow raises for damaged files, depending on the format and on the damaged part.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError)
_OPENED = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
_LOSSY = ("JPEG", "MPO", "WEBP")
_PNG_DEPTH, _PNG_COLOUR = 24, 25  # where a PNG's header has its bit depth and its colour type
_JPEG_COLOURS = {"CMYK": "CMYK"}  # every other JPEG can be decoded to grey, which reads all of it
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)  # Pillow's own limit against decompression bombs
_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What an image's header says, before any pixel is decoded.

    Attributes:
        width, height: in pixels, as stored.
        format: by content: ``JPEG``, ``PNG`` …
        mode: Pillow's, with ``;16`` where channels have 16 bits that Pillow would cut to 8.
        orientation: EXIF's, 1 where the stored pixels are as they are meant to be seen.
    """

    width: int
    height: int
    format: str
    mode: str
    orientation: int = 1

    @property
    def size(self) -> str:
        """``WxH``."""
        return f"{self.width}x{self.height}"


def _unlimited(source: BinaryIO, formats: tuple[str, ...] = _OPENED) -> Image.Image:
    """Open an image of any size without decoding it; whoever decodes it looks at the size first."""
    with _LIMIT:  # Pillow's limit is one for all threads
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _open(path: Path, data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image without decoding it.

    Raises:
        BenchError: if it isn't an image that can be read, or larger than `max_pixels`.
    """
    try:
        image = _unlimited(io.BytesIO(data))
    except _DAMAGED as error:
        raise BenchError(f"{path}: unreadable image ({_fault(error)})") from None
    if too_large := oversize(Header(image.width, image.height, str(image.format), image.mode), path, max_pixels):
        raise BenchError(too_large)
    return image


def oversize(header: Header, path: Path, max_pixels: int) -> str:
    """Return a problem in words where an image has more pixels than it may have; else ""."""
    if header.width * header.height <= max_pixels:
        return ""
    return (
        f"{path}: {header.size} pixels, more than max_pixels ({max_pixels:,}); cut it into tiles, or raise the option where "
        "you trust the file"
    )


def _fault(error: BaseException) -> str:
    text = reason(error)
    return "not an image in a format that is read" if text.startswith("cannot identify image file") else text


def _stored_mode(image: Image.Image) -> str:
    """Return an image's mode before it is decoded, with ``;16`` where Pillow would keep the upper 8 bits of 16."""
    tiles = getattr(image, "tile", None) or [("", (), 0, "")]
    deep = image.mode[0] not in "IF" and ";16" in str(tiles[0][3])
    return f"{image.mode};16" if deep else image.mode


def _bytes(path: Path, data: bytes | None) -> bytes:
    """Return a file's content.

    Raises:
        BenchError: if it is missing, no file or can't be read.
    """
    if data is not None:
        return data
    try:
        return read_bytes(path, LARGE)
    except FileNotFoundError:
        raise BenchError(f"{path}: missing") from None
    except OSError as error:
        raise BenchError(f"{path}: can't be read ({error.strerror})") from None


def read_header(path: Path) -> Header:
    """Return what an image's header says; nothing is decoded.

    Raises:
        BenchError: if the file is missing or isn't an image that can be read.
    """
    try:
        with io.BufferedReader(open_file(path, largest=LARGE)) as file, _unlimited(file) as image:
            mode = _stored_mode(image)  # before a PNG's EXIF is looked for, which decodes it
            orientation = int(image.getexif().get(0x0112, 1) or 1)
            return Header(image.width, image.height, str(image.format), mode, orientation)
    except FileNotFoundError:
        raise BenchError(f"{path}: missing") from None
    except Damaged:
        raise
    except _DAMAGED as error:
        raise BenchError(f"{path}: unreadable image ({_fault(error)})") from None


def _verified(image: Image.Image, path: Path, data: bytes) -> Image.Image:
    """Return a decoded image. What Pillow passes over is looked at too: JPEG decoders' warnings, PNGs' checksums."""
    try:
        if image.format in ("JPEG", "MPO"):
            decode_jpeg(data, colorspace=_JPEG_COLOURS.get(image.mode, "GRAY"), strict=True)
        elif image.format == "PNG":
            _unlimited(io.BytesIO(data), ("PNG",)).verify()
        image.load()
    except _DAMAGED as error:
        raise damaged(path, error) from None
    return image


def damaged(path: Path, error: BaseException) -> BenchError:
    """Return the error that names a damaged file."""
    return BenchError(
        f"{path}: damaged ({reason(error)}); get the file anew, or leave it out of the lists, since what can be decoded of "
        "it isn't the picture"
    )


def load_rgb(path: Path, data: bytes | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a decoded RGB image.

    Args:
        path: the file; only named in errors where `data` is given.
        data: the file's content, where it isn't on disk (a member of an archive).
        max_pixels: the most that an image may have.

    Raises:
        BenchError: if the file is missing or damaged, or has more than 8 bits per channel.
    """
    data = _bytes(path, data)
    image = _open(path, data, max_pixels)
    if fault := too_deep(_stored_mode(image), path):
        raise BenchError(fault)
    image = _verified(image, path, data)
    image.info.pop("transparency", None)  # a palette's alpha says nothing of its colours, of which Pillow would warn
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def too_deep(mode: str, path: Path) -> str:
    """Return a problem in words where an image's channels have more than 8 bits (see :class:`Header`); else ""."""
    if mode[0] not in "IF" and not mode.endswith(";16"):
        return ""
    return f"{path}: more than 8 bits per channel (mode {mode}); save it as an 8-bit image"


def decode_rgb(path: Path, max_pixels: int = MAX_PIXELS) -> UInt8:
    """Return the pixels of an RGB image, (H, W, 3) uint8: those of :func:`load_rgb`, for a JPEG in a quarter less time.

    Both decode with libjpeg-turbo, but simplejpeg writes the pixels into the array at once; Pillow keeps them in four
    bytes each and copies them twice.

    Raises:
        BenchError: as :func:`load_rgb` does.
    """
    data = _bytes(path, None)
    with _open(path, data, max_pixels) as header:
        plain = header.format in ("JPEG", "MPO") and header.mode == "RGB"
    if not plain:
        return np.array(load_rgb(path, data, max_pixels), dtype=np.uint8)
    try:
        pixels: UInt8 = decode_jpeg(data, colorspace="RGB", strict=True)
    except _DAMAGED as error:
        raise damaged(path, error) from None
    return pixels


def load_mask(path: Path, data: bytes | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a decoded mask as it is stored, in a format that keeps every value.

    Raises:
        BenchError: if the file is missing, damaged, or in a format that changes values.
    """
    data = _bytes(path, data)
    image = _open(path, data, max_pixels)
    refuse_other_format(Header(image.width, image.height, str(image.format), image.mode), path)
    if image.info.get("compression") == "jpeg":
        raise BenchError(f"{path}: a TIFF with JPEG inside, which changes class indices; save masks as PNG")
    if (mode := _stored_mode(image)) != image.mode:
        raise BenchError(too_deep(mode, path))
    return _verified(image, path, data)


def refuse_other_format(header: Header, path: Path) -> None:
    """Raise if a mask isn't what its name says, in a format that keeps every value.

    Raises:
        BenchError: see above.
    """
    wanted = MASK_FORMATS.get(path.suffix.lower(), "PNG")
    if header.format == wanted:
        return
    why = "which changes class indices" if header.format in _LOSSY else f"not the {wanted} that its name says"
    raise BenchError(f"{path}: a {header.format} by content, {why}; save masks as PNG from their source")


def load_index_mask(path: Path, data: bytes | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a decoded mask whose pixels are class indices: 1, 2, 4 or 8 bits, grey or with a palette, as stored.

    Args:
        path: the file; only named in errors where `data` is given.
        data: the file's content, where it isn't on disk.
        max_pixels: the most that a mask may have.

    Returns:
        An image of mode L or P, whose values are those stored (Pillow stretches grey of fewer bits to 0 … 255).

    Raises:
        BenchError: if the file is missing or damaged, or isn't an index image of at most 8 bits.
    """
    data = _bytes(path, data)
    image = load_mask(path, data, max_pixels)
    if image.mode not in ("1", "L", "P"):
        raise BenchError(
            f"{path}: not an 8-bit index mask (mode {image.mode}); save class indices, or say in `classes` what each "
            "colour means"
        )
    steps = 1 if image.mode == "1" else _grey_steps(image, data)
    if image.mode == "1":
        image = image.convert("L")
    return image if steps == 255 else image.point([round(value * steps / 255) for value in range(256)])


def _grey_steps(image: Image.Image, data: bytes) -> int:
    """Return the greatest value that a grey PNG's bit depth can store; 255 for any other image."""
    if image.format == "PNG" and image.mode == "L" and data[_PNG_COLOUR] == 0:
        return int((1 << data[_PNG_DEPTH]) - 1)
    return 255


def colours_of(mask: Image.Image, path: Path) -> UInt8:
    """Return a mask's colours, (H, W, 3) uint8; a palette's colours where it has one.

    Raises:
        BenchError: if a pixel is transparent, so that its colour says nothing.
    """
    if mask.mode in ("RGBA", "LA", "PA") and _lowest(mask.getchannel("A")) < 255:
        raise BenchError(f"{path}: has transparent pixels; save the mask without an alpha channel")
    if fault := too_deep(mask.mode, path):
        raise BenchError(fault)
    return np.array(mask.convert("RGB"), dtype=np.uint8)


def _lowest(channel: Image.Image) -> int:
    low, _ = channel.getextrema()
    return int(low) if not isinstance(low, tuple) else 0


def unlisted(values: Collection[int], known: int = 8) -> str:
    """Return label values in words, the first few of many."""
    some = sorted(values)
    return ", ".join(map(str, some[:known])) + (f", … ({len(some)} values)" if len(some) > known else "")
