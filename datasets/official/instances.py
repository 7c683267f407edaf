"""COCO's instance annotations as one source of masks per image, without holding half a gigabyte of JSON as objects.

The file of the training images has 860,001 annotations in 448 MB. It is walked once, an annotation at a time; what stays
in memory is its text and where each image's annotations lie in it.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.arrays import UInt8
from bench.errors import BenchError
from datasets.layout.files import reason
from datasets.official.archives import Member

MAX_BYTES = 2**31  # four times the file of the training images
_SPACE = re.compile(r"[ \t\r\n]*")
_decode = json.JSONDecoder().raw_decode

OnElement = Callable[[Any, int, int], None]  # a decoded element of an array, where it begins and ends in the text


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it matches the empty string
    return match.end()


def _expect(text: str, at: int, choices: str) -> int:
    """Skip white space and one of some characters; the position behind it.

    Raises:
        ValueError: if there is anything else.
    """
    at = _skip(text, at)
    if at >= len(text) or text[at] not in choices:
        raise ValueError(f"expected {' or '.join(choices)} at character {at}")
    return at + 1


def _walk_array(text: str, at: int, on_element: OnElement) -> int:
    """Decode the elements of the array that begins at a position, one at a time; the position behind it."""
    at = _skip(text, _expect(text, at, "["))
    if text[at : at + 1] == "]":
        return at + 1
    while True:
        begin = _skip(text, at)
        element, end = _decode(text, begin)
        on_element(element, begin, end)
        at = _expect(text, end, ",]")
        if text[at - 1] == "]":
            return at


def walk_json(text: str, arrays: Mapping[str, OnElement]) -> None:
    """Walk the JSON object in a text, without ever holding the decoded whole.

    Args:
        text: the JSON.
        arrays: what to do with each element of the arrays under these keys; other keys are passed over.

    Raises:
        ValueError: if it isn't a JSON object with arrays under these keys.
    """
    at, missing = _expect(text, 0, "{"), set(arrays)
    while text[at - 1] != "}":
        key, at = _decode(text, _skip(text, at))
        at = _expect(text, at, ":")
        if key in arrays:
            at = _walk_array(text, at, arrays[key])
            missing.discard(key)
        else:
            _, at = _decode(text, _skip(text, at))
        at = _expect(text, at, ",}")
    if missing:
        raise ValueError(f"no '{min(missing)}' in it")


@dataclass(frozen=True)
class _Image:
    stem: str
    height: int
    width: int


class Instances:
    """The annotations of a file such as ``instances_val2017.json``, by image; an origin of members.

    A member is what :func:`draw` needs for one image, as JSON: its height and width, and its annotations in the order of
    the file.

    Attributes:
        path: the archive that holds the file, or the file.
        categories: names by id.
    """

    def __init__(self, source: Member) -> None:
        """Read the file.

        Raises:
            BenchError: if it is damaged, or isn't a file of instance annotations.
        """
        self.path: Path = source.origin.path if source.origin.path.is_file() else source.where
        self._where = source.where
        self.categories: dict[int, str] = {}
        self._images: dict[int, _Image] = {}
        self._text, owners, spans = "", array("q"), array("q")

        def on_image(found: Any, begin: int, end: int) -> None:
            size = int(found["height"]), int(found["width"])
            self._images[int(found["id"])] = _Image(Path(found["file_name"]).stem, *size)

        def on_category(found: Any, begin: int, end: int) -> None:
            self.categories[int(found["id"])] = str(found["name"])

        def on_annotation(found: Any, begin: int, end: int) -> None:
            owners.append(int(found["image_id"]))
            spans.extend((begin, end))

        try:
            self._text = source.read(MAX_BYTES).decode()
            walk_json(self._text, {"images": on_image, "categories": on_category, "annotations": on_annotation})
            self._ids = sorted(self._images)
            self._index(np.asarray(owners, np.int64), np.asarray(spans, np.int64).reshape(-1, 2))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BenchError(f"{self._where}: not a file of COCO's instance annotations ({reason(error)})") from None

    def _index(self, owners: npt.NDArray[np.int64], spans: npt.NDArray[np.int64]) -> None:
        """Sort where annotations lie by image, in the order of the file within one."""
        ids = np.asarray(self._ids, np.int64)
        unknown = owners[~np.isin(owners, ids)]
        if unknown.size:
            raise ValueError(f"annotations of image {unknown[0]}, which isn't among its images")
        order = np.argsort(owners, kind="stable")
        self._spans = spans[order]
        self._bounds = np.searchsorted(owners[order], ids), np.searchsorted(owners[order], ids, side="right")

    def by_stem(self) -> dict[str, Member]:
        """Return a member per image, by the name of the image's file without its suffix, sorted by the image's id."""
        return {
            self._images[image_id].stem: Member(self._where / self._images[image_id].stem, self, index, 0)
            for index, image_id in enumerate(self._ids)
        }

    def members(self) -> Iterator[tuple[str, int]]:
        """Give each image's name; sizes are those of text, and aren't known before."""
        for image_id in self._ids:
            yield self._images[image_id].stem, 0

    def read(self, index: int) -> bytes:
        """Return an image's height, width and annotations as JSON."""
        image, (begins, ends) = self._images[self._ids[index]], self._bounds
        parts = [self._text[begin:end] for begin, end in self._spans[begins[index] : ends[index]]]
        head = f'{{"height": {image.height}, "width": {image.width}, "annotations": ['
        return f"{head}{', '.join(parts)}]}}".encode()

    def close(self) -> None:
        """Forget the text."""
        self._text = ""


def mask_drawing() -> Any:
    """Return ``pycocotools.mask``.

    Raises:
        BenchError: if the package isn't there.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise BenchError(
            "coco's masks are drawn by pycocotools, which isn't installed: pip install pycocotools (or '.[coco]')"
        ) from None
    return mask


def draw(where: Path, data: bytes, classes: Mapping[int, int]) -> UInt8:
    """Return an image's annotations as a mask, (H, W) uint8: 0 where there is none.

    Each is drawn as pycocotools' ``annToMask`` has it: polygons are filled and united, run-length codes (compressed or
    not, which crowds have) decoded. They are drawn in the order of the file, a later one over an earlier one.

    Args:
        where: how the image's annotations are called in errors.
        data: from :meth:`Instances.read`.
        classes: class index by category id.

    Raises:
        BenchError: naming the annotation that can't be drawn.
    """
    drawing, image = mask_drawing(), json.loads(data)
    height, width = image["height"], image["width"]
    mask = np.zeros((height, width), dtype=np.uint8, order="F")  # as pycocotools' are: boolean indices are fast then
    for annotation in image["annotations"]:
        try:
            index, shape = classes[annotation["category_id"]], annotation["segmentation"]
            if isinstance(shape, list):
                code = drawing.merge(drawing.frPyObjects(shape, height, width))
            elif isinstance(shape["counts"], list):
                code = drawing.frPyObjects(shape, height, width)
            else:
                code = shape
            if list(code["size"]) != [height, width]:
                raise ValueError(f"its code is of {code['size']}, the image of {[height, width]}")
            mask[drawing.decode(code).view(bool)] = index
        except Exception as error:  # pycocotools raises Exception itself
            raise BenchError(f"{where}: annotation {annotation.get('id')} can't be drawn ({reason(error)})") from None
    return np.ascontiguousarray(mask)
