"""Procedurally drawn scenes in integer arithmetic alone: the same pixels on every machine and library version.

A scene is a noisy wall, often a floor, and overlapping objects in front, seen under light that changes from image to
image. Two pairs of classes share shape and colours and differ in texture only. Plain blobs are distractors: they look
like objects and are background. Coordinates are pixels, colours 0 to 255, lengths 1/96 of the image's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays import IGNORE_INDEX, UInt8
from bench.seeds import rng

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SEED = 0
# cos and sin of the multiples of 22.5 degrees, times 256.
DIRECTIONS = ((256, 0), (237, 98), (181, 181), (98, 237), (0, 256), (-98, 237), (-181, 181), (-237, 98))


class Draw:
    """Integer draws from the raw 64-bit words of one Philox stream, which no version of NumPy changes."""

    def __init__(self, *path: str | int) -> None:
        self._bits = rng(SEED, "synthetic", *path).bit_generator

    def between(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True in `percent` of 100 draws."""
        return self.between(0, 99) < percent

    def colour(self, low: int, high: int) -> Ints:
        """Return an RGB colour, (3,), each channel from `low` to `high`."""
        return np.array([self.between(low, high) for _ in range(3)], dtype=np.int64)

    def bytes(self, rows: int, columns: int) -> Ints:
        """Return (rows, columns) integers from 0 to 255."""
        count = rows * columns
        words = np.atleast_1d(self._bits.random_raw((count + 7) // 8)).astype("<u8")
        return words.view(np.uint8)[:count].reshape(rows, columns).astype(np.int64)


def _inside_disc(u: Ints, v: Ints, r: int) -> Bools:
    return u * u + v * v <= r * r


def _inside_tile(u: Ints, v: Ints, r: int) -> Bools:
    return np.maximum(np.abs(u), np.abs(v)) * 8 <= r * 7


def _inside_wedge(u: Ints, v: Ints, r: int) -> Bools:
    return (v * 2 <= r) & (np.abs(u) * 16 <= (v + r) * 9)


def _inside_ring(u: Ints, v: Ints, r: int) -> Bools:
    square = u * u + v * v
    return (square <= r * r) & (square * 25 >= r * r * 8)


def _inside_cross(u: Ints, v: Ints, r: int) -> Bools:
    u, v = np.abs(u), np.abs(v)
    return (np.maximum(u, v) <= r) & (np.minimum(u, v) * 3 <= r)


def _inside_pole(u: Ints, v: Ints, r: int) -> Bools:
    return (np.abs(u) * 6 <= r) & (np.abs(v) * 2 <= r * 5)


def _plain(u: Ints, v: Ints, p: int) -> Bools:
    return np.zeros(u.shape, dtype=np.bool_)


def _bands(w: Ints, p: int) -> Bools:
    bands: Bools = w // p % 2 == 0
    return bands


def _rows(u: Ints, v: Ints, p: int) -> Bools:
    return _bands(v, p)


def _columns(u: Ints, v: Ints, p: int) -> Bools:
    return _bands(u, p)


def _checks(u: Ints, v: Ints, p: int) -> Bools:
    return ~(_bands(u, p) ^ _bands(v, p))


def _dots(u: Ints, v: Ints, p: int) -> Bools:
    return _bands(u, p) & _bands(v, p)


@dataclass(frozen=True)
class Thing:
    """A class of objects.

    Attributes:
        name: class name.
        weight: how often it is drawn, relative to the others.
        inside: shape, from rotated coordinates and radius.
        texture: where the second colour shows, from rotated coordinates and period.
        colour: mean RGB colour; each object's own differs by up to `SPREAD` per channel.
        radius: least and greatest, in 1/96 of the side.
        turns: False keeps it upright.
    """

    name: str
    weight: int
    inside: Callable[[Ints, Ints, int], Bools]
    texture: Callable[[Ints, Ints, int], Bools]
    colour: tuple[int, int, int]
    radius: tuple[int, int]
    turns: bool


SPREAD = 28
RED, BLUE, GREEN = (150, 90, 80), (80, 100, 150), (90, 140, 80)
THINGS = (
    Thing("disc_rows", 24, _inside_disc, _rows, RED, (12, 21), False),
    Thing("disc_columns", 12, _inside_disc, _columns, RED, (12, 21), False),
    Thing("tile_checks", 18, _inside_tile, _checks, BLUE, (12, 21), True),
    Thing("tile_dots", 10, _inside_tile, _dots, BLUE, (12, 21), True),
    Thing("wedge", 18, _inside_wedge, _plain, GREEN, (14, 24), True),
    Thing("ring", 9, _inside_ring, _plain, RED, (13, 20), False),
    Thing("cross", 7, _inside_cross, _plain, BLUE, (13, 20), True),
    Thing("pole", 9, _inside_pole, _rows, GREEN, (14, 22), False),
)
CLASSES = ("background", "floor", *(thing.name for thing in THINGS))
_WEIGHTED_INDICES = tuple(index for index, thing in enumerate(THINGS) for _ in range(thing.weight))


def _noise(draw: Draw, size: int, cell: int) -> Ints:
    """Return value noise, (size, size) from 0 to 255: random lattice points, `cell` pixels apart, joined bilinearly."""
    count = size // cell + 2
    lattice = draw.bytes(count, count)
    position = np.arange(size, dtype=np.int64)
    whole, part = position // cell, position % cell
    rows = lattice[whole] * (cell - part)[:, None] + lattice[whole + 1] * part[:, None]
    both = rows[:, whole] * (cell - part) + rows[:, whole + 1] * part
    return (both // (cell * cell)).astype(np.int64)


def _scaled(length: int, size: int) -> int:
    return max(1, length * size // 96)


def _backdrop(draw: Draw, size: int) -> Ints:
    """Return the wall, (size, size, 3): any colour, coarse and fine noise."""
    coarse, fine = _noise(draw, size, _scaled(24, size)), _noise(draw, size, _scaled(5, size))
    shade = (coarse - 128) * draw.between(20, 60) // 128 + (fine - 128) * draw.between(10, 50) // 128
    return draw.colour(90, 160) + shade[:, :, None]


def _floor(draw: Draw, size: int) -> tuple[Bools, Ints]:
    """Return where the floor is, (size, size), below a wavy edge, and its grainy look, (size, size, 3)."""
    edge = draw.between(size * 45 // 100, size * 80 // 100)
    wave = _noise(draw, size, _scaled(16, size))[0]
    where = np.arange(size, dtype=np.int64)[:, None] > edge + (wave - 128) * _scaled(10, size) // 128
    grain = _noise(draw, size, _scaled(3, size)) - 128
    return where, draw.colour(80, 150) + (grain * draw.between(30, 60) // 128)[:, :, None]


def _frame(draw: Draw, size: int, turns: bool) -> tuple[Ints, Ints]:
    """Return rotated coordinates (u, v) about a random centre, (size, size) each."""
    y, x = np.mgrid[:size, :size].astype(np.int64)
    x, y = x - draw.between(0, size - 1), y - draw.between(0, size - 1)
    c, s = DIRECTIONS[draw.between(0, len(DIRECTIONS) - 1)] if turns else (256, 0)
    return (x * c + y * s) >> 8, (y * c - x * s) >> 8


def _distract(draw: Draw, canvas: Ints) -> None:
    """Paint a plain ellipse of any colour, which is background."""
    size = len(canvas)
    u, v = _frame(draw, size, turns=True)
    a, b = (_scaled(draw.between(5, 14), size) for _ in range(2))
    canvas[u * u * b * b + v * v * a * a <= a * a * b * b] = draw.colour(40, 200)


def _place(draw: Draw, canvas: Ints, label: UInt8) -> None:
    """Paint one object over what is there."""
    size = len(canvas)
    index = _WEIGHTED_INDICES[draw.between(0, len(_WEIGHTED_INDICES) - 1)]
    thing = THINGS[index]
    u, v = _frame(draw, size, thing.turns)
    radius = _scaled(draw.between(*thing.radius), size)
    where = thing.inside(u, v, radius)
    rim = where & ~thing.inside(u, v, radius - _scaled(2, size))
    period = _scaled(draw.between(3, 4), size)
    contrast = draw.between(60, 100) * (1 if draw.chance(50) else -1)
    colour = np.array(thing.colour, dtype=np.int64) + draw.colour(-SPREAD, SPREAD)
    look = colour + (thing.texture(u, v, period) * contrast)[:, :, None]
    look[rim] = look[rim] * 2 // 5
    canvas[where] = look[where]
    label[where] = index + 2


def _light(draw: Draw, canvas: Ints) -> UInt8:
    """Return the picture under this image's light: brightness, colour cast, a gradient, perhaps a shadow, and grain."""
    size = len(canvas)
    u, v = _frame(draw, size, turns=True)
    gain = draw.between(170, 310) + u * draw.between(-90, 90) // size + v * draw.between(-90, 90) // size
    if draw.chance(35):
        gain = np.where(u > 0, gain * 5 // 8, gain)
    cast = draw.colour(225, 290)
    lit = (np.maximum(canvas, 0) * np.maximum(gain, 60)[:, :, None] * cast) >> 16
    grain = (draw.bytes(size, size * 3).reshape(size, size, 3) - 128) * draw.between(4, 20) >> 7
    picture: UInt8 = np.clip(lit + grain, 0, 255).astype(np.uint8)
    return picture


def _outline(label: UInt8) -> UInt8:
    """Return the label with the pixels void that differ from the pixel to the right or below."""
    border = np.zeros(label.shape, dtype=np.bool_)
    border[:, :-1] |= label[:, :-1] != label[:, 1:]
    border[:-1] |= label[:-1] != label[1:]
    return np.where(border, np.uint8(IGNORE_INDEX), label)


def draw_scene(split: str, index: int, size: int) -> tuple[UInt8, UInt8]:
    """Draw one scene.

    Args:
        split: `train`, `val` or `test`; the scenes of different splits are independent.
        index: number of the scene within the split, from 0.
        size: side in pixels.

    Returns:
        RGB image (size, size, 3) uint8, and mask (size, size) uint8: class index, 255 = void (outlines).
    """
    draw = Draw(split, index)
    canvas = _backdrop(draw, size)
    label = np.zeros((size, size), dtype=np.uint8)
    for _ in range(draw.between(0, 2)):
        _distract(draw, canvas)
    if draw.chance(60):
        where, look = _floor(draw, size)
        canvas[where], label[where] = look[where], 1
    for _ in range(draw.between(4, 8)):
        _place(draw, canvas, label)
    return _light(draw, canvas), _outline(label)
