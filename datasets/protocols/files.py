"""Splits that other repositories publish, read from their lists as they are."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

import bench.config
from bench.errors import BenchError
from bench.files import REPOSITORY
from bench.registry import register
from bench.text import cut
from datasets.base import SegmentationDataset
from datasets.layout.files import read_lines
from datasets.layout.names import Names, read_names
from datasets.split import Protocol, Split

SEED = "{seed}"

_SHOWN = 3

Line = tuple[int, str]  # number, text


class FilesConfig(bench.config.Config):
    """Options of `files`. The paths don't identify a cell: the split's hash does.

    A relative path is looked for in the working directory, then in the harness's folder, where the lists of
    ``datasets/subsets`` are.

    Attributes:
        labelled: the list of labelled images. ``{seed}`` in it stands for the split seed, so that lists of several draws are
            the draws of a grid: ``pascal/92/split_{seed}/labeled.txt`` for ST++'s.
        unlabelled: the list of unlabelled ones, written in the same way; by default the rest of the training images.
        overlap: whether an image may be in both lists, as one is in each of TorchSemiSeg's VOC lists of the 1,464 images,
            and as in papers that use the labelled images as unlabelled ones too.
        title: name of the budget in slugs, tables and axes; by default the number of labelled images, of the first draw.
    """

    labelled: Annotated[str, Field(min_length=1, json_schema_extra={"identity": False})]
    unlabelled: Annotated[str | None, Field(min_length=1, json_schema_extra={"identity": False})] = None
    overlap: Annotated[Literal["refuse", "allow"], Field(json_schema_extra={"identity": False})] = "refuse"
    title: Annotated[str | None, Field(min_length=1, json_schema_extra={"identity": False})] = None


def _whole(name: str) -> str:
    """Return a path as it is to be opened; ``{seed}`` in it stays."""
    given = Path(name).expanduser()
    own = REPOSITORY / given
    return str(own if not given.parent.is_dir() and own.parent.is_dir() else given)


def _draw(name: str, seed: int) -> Path:
    """Return the list of a draw.

    Raises:
        BenchError: if there is none, with the draws that there are.
    """
    path = Path(_whole(name).replace(SEED, str(seed)))
    if SEED in name and not path.is_file():
        found = ", ".join(map(str, _draws(name))) or "none"
        raise BenchError(f"{path}: there is no such file; {SEED} is the split seed, and lists exist for: {found}")
    return path


def _draws(name: str) -> list[int]:
    """Return the seeds for which there is a list."""
    before, *after = (re.escape(part) for part in _whole(name).split(SEED))
    pattern = re.compile(before + r"(0|[1-9]\d*)" + "".join(rf"{part}\1" for part in after[:-1]) + after[-1])
    found = glob.glob("*".join(glob.escape(part) for part in _whole(name).split(SEED)))  # noqa: PTH207 - Path.glob takes no absolute path
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


def _shown(lines: Sequence[Line]) -> str:
    some = ", ".join(f"line {number} '{cut(text)}'" for number, text in lines[:_SHOWN])
    return some + (", …" if len(lines) > _SHOWN else "")


def _few(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")


def read_split_list(path: Path, dataset: SegmentationDataset) -> tuple[str, ...]:
    """Return the ids that a list names, in its order.

    Formats, each seen in a released repository: an id a line (PixelSSL, U2PL and CPS/TorchSemiSeg on VOC, with either
    line ending); an image path (U2PL on Cityscapes); image and mask path, separated by a space (UniMatch) or a tab
    (CPS/TorchSemiSeg on Cityscapes). A line is the image that it names or an error, see ``datasets/layout/names.py``. The
    dataset's own masks are used, whatever the list names.

    Raises:
        BenchError: if the list is missing or empty, holds positions instead of names, names an image twice, or has a line
            that names no training image or could name several.
    """
    lines = _content(path)
    found, unknown = read_names(_names(dataset), dict(lines))
    if len(unknown) == len(lines) and all(re.fullmatch(r"\d{1,7}", text) for _, text in lines):
        raise BenchError(
            f"{path}: positions in a list ({_shown(lines)}), which mean something only beside the list that they count in; "
            "give ids or image paths"
        )
    if unknown:
        some = [
            f"line {number} '{cut(text)}' ({cut(unknown[number], 200)})" for number, text in lines if number in unknown
        ]
        raise BenchError(
            f"{path}: {len(unknown)} of {len(lines)} lines name no training image of the dataset, or more than one: "
            f"{', '.join(some[:_SHOWN])}{', …' if len(some) > _SHOWN else ''}"
        )
    first: dict[str, int] = {}
    for number, text in lines:
        earlier = first.setdefault(found[number], number)
        if earlier != number:
            raise BenchError(f"{path}: line {number} '{text}' names the same image as line {earlier}")
    return tuple(first)


@lru_cache(maxsize=8)
def _names(dataset: SegmentationDataset) -> Names:
    return Names(dataset)


@register("protocol", "files")
class Files(Protocol):
    """Lists of other repositories, as they are: those of UniMatch, U2PL, CPS/TorchSemiSeg and PixelSSL."""

    Config: ClassVar[type[bench.config.Config]] = FilesConfig
    shorthand: ClassVar[str | None] = "labelled"

    def __init__(self, config: FilesConfig) -> None:
        super().__init__(config)
        self._labelled, self._unlabelled = config.labelled, config.unlabelled
        self._title, self._overlap = config.title, config.overlap

    @property
    def title(self) -> str:
        """As configured, else the number of labelled images.

        Raises:
            BenchError: if the list can't be read.
        """
        return self._title or str(len(_content(_first_draw(self._labelled))))

    def split(self, dataset: SegmentationDataset, seed: int) -> Split:
        """Read the lists; the seed has an effect where their names have ``{seed}``.

        Raises:
            BenchError: see :func:`read_split_list`; if a labelled image has no mask, an image is in both lists (unless
                `overlap` allows it), or all training images are labelled and no second list is given.
        """
        path = _draw(self._labelled, seed)
        labelled = read_split_list(path, dataset)
        annotated = set(dataset.annotated)
        if bare := [image_id for image_id in labelled if image_id not in annotated]:
            raise BenchError(f"{path}: {len(bare)} of {len(labelled)} images have no mask: {_few(bare)}")
        if self._unlabelled is not None:
            second = _draw(self._unlabelled, seed)
            unlabelled = read_split_list(second, dataset)
            self._refuse_overlap(labelled, unlabelled, second)
            return Split(labelled, unlabelled)
        taken = set(labelled)
        rest = tuple(i for i in dataset.ids("train") if i not in taken)
        if not rest:
            raise BenchError(f"{path}: names every training image; give `unlabelled` too, or use `full`")
        return Split(labelled, rest)

    def _refuse_overlap(self, labelled: Sequence[str], unlabelled: Sequence[str], second: Path) -> None:
        twice = set(labelled)
        both = [image_id for image_id in unlabelled if image_id in twice]
        if both and self._overlap == "refuse":
            raise BenchError(
                f"{second}: {len(both)} of {len(unlabelled)} images are in the list of labelled images too: {_few(both)}; "
                "mend the lists, or say protocol: {files: {…, overlap: allow}} where that is meant"
            )
