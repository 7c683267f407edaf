"""Splits that other repositories publish, read from their lists as they are."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar

from pydantic import Field

import bench.config
from bench.errors import BenchError
from bench.registry import register
from datasets.base import SegmentationDataset
from datasets.layout.files import IMAGE_SUFFIXES, read_lines
from datasets.split import Protocol, Split

SEED = "{seed}"

# Cityscapes' image files carry it behind the id.
_IMAGE_TAG = "_leftImg8bit"
_SHOWN = 3

Line = tuple[int, str]  # number, text


class FilesConfig(bench.config.Config):
    """Options of `files`. The paths don't identify a cell: the split's hash does.

    Attributes:
        labelled: the list of labelled images. ``{seed}`` in it stands for the split seed, so that lists of several draws are
            the draws of a grid: ``pascal/92/split_{seed}/labeled.txt`` for ST++'s.
        unlabelled: the list of unlabelled ones, written in the same way; by default the rest of the training images.
        title: name of the budget in slugs, tables and axes; by default the number of labelled images, of the first draw.
    """

    labelled: Annotated[str, Field(min_length=1, json_schema_extra={"identity": False})]
    unlabelled: Annotated[str | None, Field(min_length=1, json_schema_extra={"identity": False})] = None
    title: Annotated[str | None, Field(min_length=1, json_schema_extra={"identity": False})] = None


def _draw(name: str, seed: int) -> Path:
    """Return the list of a draw.

    Raises:
        BenchError: if there is none, with the draws that there are.
    """
    path = Path(name.replace(SEED, str(seed))).expanduser()
    if SEED in name and not path.is_file():
        found = ", ".join(map(str, _draws(name))) or "none"
        raise BenchError(f"{path}: there is no such file; {SEED} is the split seed, and lists exist for: {found}")
    return path


def _draws(name: str) -> list[int]:
    """Return the seeds for which there is a list."""
    before, *after = (re.escape(part) for part in str(Path(name).expanduser()).split(SEED))
    pattern = re.compile(before + r"(0|[1-9]\d*)" + "".join(rf"{part}\1" for part in after[:-1]) + after[-1])
    found = glob.glob("*".join(glob.escape(part) for part in str(Path(name).expanduser()).split(SEED)))  # noqa: PTH207 - Path.glob takes no absolute path
    return sorted(int(match[1]) for path in found if (match := pattern.fullmatch(path)))


def _first_draw(name: str) -> Path:
    """Return the list of the lowest seed that has one."""
    seeds = _draws(name) if SEED in name else []
    return _draw(name, seeds[0] if seeds else 0)


def _content(path: Path) -> list[Line]:
    """Return the lines that are not blank.

    Raises:
        BenchError: if there are none.
    """
    lines = [(number, text) for number, text in enumerate(read_lines(path), 1) if text]
    if not lines:
        raise BenchError(f"{path}: an empty list; for the rest of the training images leave `unlabelled` out")
    return lines


class _Ids:
    """The training ids of a dataset, found by what lists of other repositories call them."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = set(ids)
        self._by_stem: dict[str, list[str]] = {}
        for image_id in ids:
            self._by_stem.setdefault(PurePosixPath(image_id).name, []).append(image_id)

    def find(self, text: str) -> str | None:
        """Return the id that a line names, or None.

        A line is an id, or the path of an image, maybe with the path of its mask behind it. Of a path, the longest end
        that is an id counts (``city/name`` before ``name``); else its last part, if one id alone ends with it.
        """
        if text in self._ids:
            return text
        path = PurePosixPath(re.split(r"\t|\s+", text)[0])
        name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
        name = name.removesuffix(_IMAGE_TAG)
        folders = [part for part in path.parts[:-1] if part != "/"]
        for start in range(len(folders) + 1):
            candidate = "/".join([*folders[start:], name])
            if candidate in self._ids:
                return candidate
        same = self._by_stem.get(name, [])
        return same[0] if len(same) == 1 else None


def _shown(lines: Sequence[Line]) -> str:
    some = ", ".join(f"line {number} '{text}'" for number, text in lines[:_SHOWN])
    return some + (", …" if len(lines) > _SHOWN else "")


def read_split_list(path: Path, dataset: SegmentationDataset) -> tuple[str, ...]:
    """Return the ids that a list names, in its order.

    Formats, each seen in a released repository: an id a line (PixelSSL, U2PL and CPS/TorchSemiSeg on VOC, with either
    line ending); an image path (U2PL on Cityscapes); image and mask path, separated by a space (UniMatch) or a tab
    (CPS/TorchSemiSeg on Cityscapes). The dataset's own masks are used, whatever the list names.

    Raises:
        BenchError: if the list is missing or empty, holds positions instead of names, names an image twice, or names
            one that isn't a training image.
    """
    lines, ids = _content(path), _Ids(dataset.ids("train"))
    found = [(line, ids.find(line[1])) for line in lines]
    unknown = [line for line, image_id in found if image_id is None]
    if len(unknown) == len(lines) and all(re.fullmatch(r"\d{1,7}", text) for _, text in lines):
        raise BenchError(
            f"{path}: positions in a list ({_shown(lines)}), which mean something only beside the list that they count in; "
            "give ids or image paths"
        )
    if unknown:
        raise BenchError(
            f"{path}: {len(unknown)} of {len(lines)} lines name no training image of the dataset, or more than one: "
            f"{_shown(unknown)}"
        )
    first: dict[str, int] = {}
    for (number, text), image_id in found:
        assert image_id is not None
        if image_id in first:
            raise BenchError(f"{path}: line {number} '{text}' names the same image as line {first[image_id]}")
        first[image_id] = number
    return tuple(first)


@register("protocol", "files")
class Files(Protocol):
    """Lists of other repositories, as they are: those of UniMatch, U2PL, CPS/TorchSemiSeg and PixelSSL."""

    Config: ClassVar[type[bench.config.Config]] = FilesConfig
    shorthand: ClassVar[str | None] = "labelled"

    def __init__(self, config: FilesConfig) -> None:
        super().__init__(config)
        self._labelled, self._unlabelled = config.labelled, config.unlabelled
        self._title = config.title

    @property
    def title(self) -> str:
        """As configured, else the number of labelled images.

        Raises:
            BenchError: if the list can't be read.
        """
        return self._title or str(len(_content(_first_draw(self._labelled))))

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Read the lists; the seed has an effect where their names have ``{seed}``.

        An image may be in both lists: TorchSemiSeg's VOC lists of the 1,464 images have one such each, and some papers
        use the labelled images as unlabelled ones too.

        Raises:
            BenchError: see :func:`read_split_list`; or if all training images are labelled and no second list is given.
        """
        path = _draw(self._labelled, seed)
        labelled = read_split_list(path, dataset)
        if self._unlabelled is not None:
            return Split(labelled, read_split_list(_draw(self._unlabelled, seed), dataset))
        taken = set(labelled)
        rest = tuple(i for i in dataset.ids("train") if i not in taken)
        if not rest:
            raise BenchError(f"{path}: names every training image; give `unlabelled` too, or use `full`")
        return Split(labelled, rest)
