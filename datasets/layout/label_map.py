"""What the stored values or colours of masks mean: a map from each to a class or to void, many to one."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.arrays import IGNORE_INDEX, UInt8
from bench.errors import BenchError
from bench.yaml import parse_yaml
from datasets.layout.decode import MAX_PIXELS, colours_of, load_index_mask, load_mask, unlisted
from datasets.layout.files import read_lines

VOID = "void"
Pairs = tuple[tuple[str, str], ...]
Colour = tuple[int, int, int]
_UNLISTED = 254  # no class has this index where a map is used
_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_RGB = re.compile(r"[\[(]?\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*[\])]?")
_NAME_COLUMNS = ("name", "class", "label", "class_name")
_VALUE_COLUMNS = ("value", "id", "index", "pixel", "class_id")
_COLOUR_COLUMNS = ("color", "colour", "rgb", "color_rgb", "hex")


def as_pairs(value: Any) -> Any:
    """Return what ``classes:`` says as pairs (value or colour, name) in the order in which they are written.

    Raises:
        ValueError: if a key is neither a value from 0 to 255 nor a colour, or both kinds are given.
    """
    if isinstance(value, Mapping):
        value = tuple((str(key), str(name)) for key, name in value.items())
    if isinstance(value, (list, tuple)):
        pairs = tuple((str(key), str(name)) for key, name in value)
        LabelMap(pairs)  # raises
        return pairs
    return value


def _key(text: str) -> int | Colour:
    """Return a stored value, or a colour: ``#8040ff`` or ``128 64 255``."""
    if match := _HEX.fullmatch(text.strip()):
        number = int(match[1], 16)
        return number >> 16, number >> 8 & 255, number & 255
    if match := _RGB.fullmatch(text.strip()):
        red, green, blue = (int(part) for part in match.groups())
        if max(red, green, blue) <= IGNORE_INDEX:
            return red, green, blue
    if re.fullmatch(r"\d{1,3}", text) and int(text) <= IGNORE_INDEX:
        return int(text)
    raise ValueError(f"'{text}' is neither a stored value from 0 to 255 nor a colour such as '#8040ff' or '128 64 255'")


def _number(key: int | Colour) -> int:
    return key if isinstance(key, int) else key[0] << 16 | key[1] << 8 | key[2]


@dataclass(frozen=True)
class LabelMap:
    """What stored values or colours mean.

    Attributes:
        pairs: stored value or colour, and the name of a class or ``void``; classes are numbered in the order in which their
            names appear first.
    """

    pairs: Pairs

    def __post_init__(self) -> None:
        """Check the pairs.

        Raises:
            ValueError: see :func:`as_pairs`; or if there is no class, a key twice, or more than 254 classes.
        """
        keys = [_key(key) for key, _ in self.pairs]
        if len({type(key) for key in keys}) > 1:
            raise ValueError("give stored values or colours, not both")
        if len(set(keys)) < len(keys):
            raise ValueError("a value or colour is given twice")
        if not 0 < len(self.classes) <= _UNLISTED:
            raise ValueError(f"{len(self.classes)} classes; there must be 1 to {_UNLISTED}")
        if any(not name.strip() for name in self.classes):
            raise ValueError("a class has no name")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order, without void."""
        return tuple(dict.fromkeys(name for _, name in self.pairs if name != VOID))

    @cached_property
    def in_colours(self) -> bool:
        """Whether masks are coded by colours."""
        return isinstance(_key(self.pairs[0][0]), tuple)

    @property
    def keys(self) -> set[int]:
        """The listed values, or colours as red << 16 | green << 8 | blue."""
        return {_number(_key(text)) for text, _ in self.pairs}

    @property
    def palette(self) -> list[Colour] | None:
        """The first colour of each class; None where masks aren't coded by colours."""
        if not self.in_colours:
            return None
        first: dict[str, Colour] = {}
        for key, name in self.pairs:
            colour = _key(key)
            assert isinstance(colour, tuple)
            first.setdefault(name, colour)
        return [first[name] for name in self.classes]

    @cached_property
    def _table(self) -> UInt8:
        """Class index per stored value, or per colour as red << 16 | green << 8 | blue."""
        index = {**{name: i for i, name in enumerate(self.classes)}, VOID: IGNORE_INDEX}
        table = np.full(1 << 24 if self.in_colours else 256, _UNLISTED, np.uint8)
        for text, name in self.pairs:
            table[_number(_key(text))] = index[name]
        return table

    def read(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """Return a mask's labels, mode L.

        Raises:
            BenchError: if it can't be used, or holds a value or colour that isn't in the map.
        """
        if self.in_colours:
            rgb = colours_of(load_mask(path, max_pixels=max_pixels), path).astype(np.uint32)
            stored: NDArray[Any] = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        else:
            stored = np.asarray(load_index_mask(path, max_pixels=max_pixels))
        labels = self._table[stored]
        if (labels == _UNLISTED).any():
            raise BenchError(f"{path}: {self._described(np.unique(stored[labels == _UNLISTED]))} not in `classes`")
        return Image.fromarray(labels)

    def _described(self, values: NDArray[Any]) -> str:
        if not self.in_colours:
            return f"values {unlisted(values.tolist())}"
        some = ", ".join(f"#{value:06x}" for value in values[:8])
        return f"colours {some}" + (f", … ({len(values)} colours)" if len(values) > 8 else "")


# -- files -----------------------------------------------------------------------------------------------------------------


def read_label_map(path: Path) -> LabelMap:
    """Read a label map from a file.

    Formats: YAML, ``value or colour: name``; CSV with a header that has a name, and a value, a colour, or r, g, b; CVAT's
    ``labelmap.txt``, ``name:r,g,b:parts:actions``.

    Raises:
        BenchError: if it is none of these.
    """
    text = "\n".join(read_lines(path))
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            pairs = _from_yaml(text, path)
        elif path.suffix.lower() == ".csv":
            pairs = _from_csv(text.splitlines())
        else:
            pairs = _from_cvat(text.splitlines())
        return LabelMap(tuple(pairs))
    except (ValueError, csv.Error) as error:
        raise BenchError(f"{path}: not a map of classes ({' '.join(str(error).split())})") from None


def _from_yaml(text: str, path: Path) -> list[tuple[str, str]]:
    found = parse_yaml(text, str(path), texts=True)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("expected `value or colour: name` in each line")
    return list(found.items())


def _from_csv(lines: list[str]) -> list[tuple[str, str]]:
    rows = [{str(k).strip().lower(): str(v).strip() for k, v in row.items()} for row in csv.DictReader(lines)]
    columns = list(rows[0]) if rows else []
    name = next((column for column in _NAME_COLUMNS if column in columns), None)
    if name is None:
        raise ValueError(f"no column {', '.join(_NAME_COLUMNS)}")
    if {"r", "g", "b"} <= set(columns):
        return [(f"{row['r']} {row['g']} {row['b']}", row[name]) for row in rows]
    key = next((column for column in (*_COLOUR_COLUMNS, *_VALUE_COLUMNS) if column in columns and column != name), None)
    if key is None:
        raise ValueError("no column of values or colours: value, color, or r, g, b")
    return [(row[key], row[name]) for row in rows]


def _from_cvat(lines: Iterable[str]) -> list[tuple[str, str]]:
    rows = [line.split(":") for line in lines if line and not line.startswith("#")]
    if any(len(row) < 2 for row in rows):
        raise ValueError("expected `name:r,g,b` in each line")
    return [(row[1], row[0]) for row in rows]
