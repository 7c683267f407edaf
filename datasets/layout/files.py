"""Reading what datasets are made of: lists, class names, images, index masks. Each failure names its file."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg

from bench.arrays import IGNORE_INDEX, UInt8
from bench.errors import BenchError
from datasets.base import Progress

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MASK_SUFFIX = ".png"
# What Pillow raises for damaged files, depending on the format and on the damaged part.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, Image.DecompressionBombError)

T = TypeVar("T")
R = TypeVar("R")


def read_lines(path: Path) -> list[str]:
    """Return the stripped lines of a text file, blank ones included. Any line ending, with or without a BOM.

    Raises:
        BenchError: if the file is missing, can't be read or isn't UTF-8.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise BenchError(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise BenchError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise BenchError(f"{path}: can't be read ({error.strerror})") from None


def read_classes(path: Path) -> tuple[str, ...]:
    """Return class names, one a line, in index order.

    Raises:
        BenchError: if a name is blank or given twice, or if there are none or more than 255.
    """
    names = read_lines(path)
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, 1):
        if not name:
            raise BenchError(
                f"{path}: line {number} is blank; the line's number is the class index, so name every class"
            )
        if name in names[: number - 1]:
            raise BenchError(f"{path}: line {number} names class '{name}' a second time; names must differ")
    if not 0 < len(names) <= IGNORE_INDEX:
        raise BenchError(f"{path}: {len(names)} classes; there must be 1 to {IGNORE_INDEX}, one name a line")
    return tuple(names)


def reason(error: BaseException) -> str:
    """Return an error's message in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def escapes(text: str) -> bool:
    """Return whether a relative path could leave the folder that it is joined to."""
    path = PurePosixPath(text)
    return path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text


def find_image(folder: Path, image_id: str) -> Path:
    """Return the image file of an id: the first that exists of .jpg, .jpeg and .png, else the .jpg that is missing."""
    candidates = [folder / f"{image_id}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _load(path: Path, data: bytes | None) -> Image.Image:
    try:
        with Image.open(path if data is None else io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise BenchError(f"{path}: missing") from None
    except _DAMAGED as error:
        raise BenchError(f"{path}: unreadable image ({reason(error)})") from None


def load_rgb(path: Path, data: bytes | None = None) -> Image.Image:
    """Return a decoded RGB image.

    Args:
        path: the file; only named in errors where `data` is given.
        data: the file's content, where it isn't on disk (a member of an archive).

    Raises:
        BenchError: if the file is missing or damaged, or has more than 8 bits per channel.
    """
    image = _load(path, data)
    if image.mode[0] in "IF":
        raise BenchError(f"{path}: more than 8 bits per channel (mode {image.mode}); save it as an 8-bit image")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def decode_rgb(path: Path) -> UInt8:
    """Return the pixels of an RGB image, (H, W, 3) uint8: those of :func:`load_rgb`, for a JPEG in a quarter less time.

    Both decode with libjpeg-turbo, but simplejpeg writes the pixels into the array at once; Pillow keeps them in four
    bytes each and copies them twice.

    Raises:
        BenchError: as :func:`load_rgb` does.
    """
    with suppress(*_DAMAGED):  # Pillow can read some of them, and names the fault of the others
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as header:  # the mode; raises for a decompression bomb
            plain = header.mode == "RGB"
        if plain:
            pixels: UInt8 = decode_jpeg(data, colorspace="RGB", strict=True)
            return pixels
    return np.array(load_rgb(path), dtype=np.uint8)


def load_index_mask(path: Path, data: bytes | None = None) -> Image.Image:
    """Return a decoded mask whose pixels are class indices (8-bit, with or without a palette).

    Args:
        path: the file; only named in errors where `data` is given.
        data: the file's content, where it isn't on disk.

    Raises:
        BenchError: if the file is missing or damaged, or isn't an 8-bit index image.
    """
    image = _load(path, data)
    if image.mode not in ("L", "P"):
        raise BenchError(f"{path}: not an 8-bit index mask (mode {image.mode}); save class indices, not colours")
    return image


def illegal_labels(histogram: Sequence[int], num_classes: int) -> list[int]:
    """Return the label values of a mask's histogram (256,) that are neither a class index nor void."""
    return [value for value in range(num_classes, IGNORE_INDEX) if histogram[value]]


def on_threads(work: Callable[[T], R], items: Sequence[T], progress: Progress | None = None) -> list[R]:
    """Return ``[work(item) for item in items]``, done on threads (Pillow decodes without the GIL).

    An exception of `work`, or Ctrl-C, is raised at once and drops the work that has not begun.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    results = []
    try:
        for result in pool.map(work, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
