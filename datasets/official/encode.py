"""What a prepared mask's file is: official label values mapped to class indices, an 8-bit PNG in the dataset's colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.arrays import IGNORE_INDEX, UInt8
from bench.errors import BenchError

_UNMAPPED = 254  # no class of these datasets has this index


def png(image: Image.Image) -> bytes:
    """Return the content of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def map_labels(where: Path, labels: UInt8, label_map: Mapping[int, int], dataset: str) -> UInt8:
    """Return the class index of each official label value, (H, W) uint8; void is 255.

    Args:
        where: how the mask is called in errors.
        labels: official values, (H, W).
        label_map: class index per official value, void included.
        dataset: how the dataset is called in errors.

    Raises:
        BenchError: if there are other values.
    """
    table = np.full(256, _UNMAPPED, dtype=np.uint8)
    table[list(label_map)] = list(label_map.values())
    mapped: UInt8 = table[labels]
    if (mapped == _UNMAPPED).any():
        values = ", ".join(map(str, np.unique(labels[mapped == _UNMAPPED])))
        raise BenchError(f"{where}: label values {values}, which {dataset}'s masks don't have")
    return mapped


def put_colours(
    mask: Image.Image, palette: Sequence[tuple[int, int, int]], void_colour: tuple[int, int, int]
) -> Image.Image:
    """Return an index mask that is drawn in the palette's colours, class by class, and void in its own."""
    colours = [*palette, *[(0, 0, 0)] * (IGNORE_INDEX - len(palette)), void_colour]
    mask.putpalette([channel for colour in colours for channel in colour])
    return mask
