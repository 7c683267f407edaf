"""Sample predictions as pictures within a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.arrays import UInt8
from bench.report.figures.qualitative import coloured

BYTES = 2_500_000  # of all pictures of a page together
LONGEST = 512  # pixels of a picture's longer side
SMALLEST = 96
_PHOTO, _MASK = "jpeg", "png"


@dataclass(frozen=True)
class Picture:
    """A picture as a `data:` address, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Prediction:
    """What a run predicts for an image: the run's id and name, the picture, and its score in words."""

    run: str
    name: str
    picture: Picture
    caption: str


@dataclass(frozen=True)
class Sample:
    """An image, its ground truth, and what runs predict."""

    name: str
    image: Picture
    truth: Picture
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Gallery:
    """Samples of one dataset: what they are, and the classes with their colours."""

    about: str
    legend: tuple[tuple[str, tuple[int, int, int]], ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Mask:
    """A mask (H, W) predicted by a run: the run's id and name, and its score in words."""

    run: str
    name: str
    mask: UInt8
    caption: str


@dataclass(frozen=True)
class Predicted:
    """An image (H, W, 3), its truth (H, W), and the mask (H, W) that each run predicts."""

    name: str
    image: UInt8
    truth: UInt8
    masks: Sequence[Mask]


@dataclass(frozen=True)
class Shown:
    """What a gallery is made of."""

    about: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    images: Sequence[Predicted]


def galleries(shown: Sequence[Shown], most: int = BYTES) -> list[Gallery]:
    """Return galleries whose pictures take at most `most` bytes together: they get smaller until they do."""
    longest = LONGEST
    while True:
        found = [_gallery(one, longest) for one in shown]
        if longest <= SMALLEST or sum(map(_size, found)) <= most:
            return found
        longest = longest * 3 // 4


def _size(gallery: Gallery) -> int:
    pictures = (
        picture
        for sample in gallery.samples
        for picture in (sample.image, sample.truth, *(one.picture for one in sample.predictions))
    )
    return sum(len(picture.uri) for picture in pictures)


def _gallery(shown: Shown, longest: int) -> Gallery:
    palette = shown.palette

    def mask(of: UInt8) -> Picture:
        return _picture(coloured(_smaller(of, longest), palette), longest, _MASK)

    samples = tuple(
        Sample(
            one.name,
            _picture(one.image, longest, _PHOTO),
            mask(one.truth),
            tuple(Prediction(of.run, of.name, mask(of.mask), of.caption) for of in one.masks),
        )
        for one in shown.images
    )
    return Gallery(shown.about, tuple(zip(shown.classes, palette, strict=True)), samples)


def _smaller(mask: UInt8, longest: int) -> UInt8:
    """Return a mask with every second, third … pixel, at most `longest` on a side; no class appears that isn't there."""
    every = -(-max(mask.shape) // longest)
    return mask[::every, ::every]


def _picture(pixels: UInt8, longest: int, kind: str) -> Picture:
    image = Image.fromarray(pixels)
    if max(image.size) > longest:
        image.thumbnail((longest, longest))
    write: Callable[[Image.Image, io.BytesIO], None] = _write_photo if kind == _PHOTO else _write_mask
    file = io.BytesIO()
    write(image, file)
    return Picture(f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)


def _write_photo(image: Image.Image, file: io.BytesIO) -> None:
    image.save(file, "JPEG", quality=82, optimize=True)


def _write_mask(image: Image.Image, file: io.BytesIO) -> None:
    """Write a picture of few colours exactly, with a palette."""
    pixels = np.asarray(image).astype(np.uint32)
    codes, places = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
    small = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    small.putpalette([part for code in codes.tolist() for part in (code >> 16, code >> 8 & 255, code & 255)])
    small.save(file, "PNG", optimize=True)
