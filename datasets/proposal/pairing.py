"""Which files of an unknown folder are images and which are their masks: found by comparing all names and some pixels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from bench.errors import BenchError
from bench.patience import open_file
from datasets.layout.decode import IMAGE_SUFFIXES, MASK_FORMATS, MASK_SUFFIX, colours_of, load_mask, read_header
from datasets.layout.files import on_threads
from datasets.layout.places import Places, split_suffix

MOST_VALUES = 64  # distinct values or colours of a mask; photographs and smoothed masks have more
_TAG_MARKS = "_-."
_SAMPLED = 12  # masks that are looked at to tell an image from a mask
FOLDER = -1  # in place of a folder that differs: every image has a folder of its own, in which the names are the same
_MOST_ALIKE = 12  # files that can be of one image
_LEAST_SHARE = 0.5  # of a folder's names that share a tag


@dataclass(frozen=True)
class _Name:
    """A file's name in parts: `folders`, and a stem that is `core` and `tag`."""

    path: Path
    folders: tuple[str, ...]
    core: str
    tag: str
    suffix: str


@dataclass(frozen=True)
class _Side:
    """What distinguishes all images, or all masks: the folder at one place, and a tag."""

    folder: str
    tag: str
    suffix: str


@dataclass(frozen=True)
class Pairing:
    """Where images and masks lie.

    Attributes:
        images, masks: as the options of ``folder``.
        pairs: image and mask by id, sorted.
        bare: images by id that have no mask, sorted.
        elsewhere: other images, in folders of their own.
        in_colours: whether masks are coded by colours.
    """

    images: str
    masks: str
    pairs: dict[str, tuple[Path, Path]]
    bare: dict[str, Path]
    elsewhere: list[Path] = field(default_factory=list)
    in_colours: bool = False


def find_pairs(root: Path, files: Sequence[Path]) -> Pairing:
    """Return where images and masks lie.

    Tried are all ways in which the path of a mask differs from its image's by one folder (``images/x``, ``masks/x``), by
    what stands at the end of the name (``x``, ``x_mask``), or by both; and folders of one image each (``x/image``,
    ``x/label``). The way that pairs most files wins, in which one
    side's files have few values.

    Args:
        root: the folder.
        files: the images and masks in it.

    Raises:
        BenchError: if no such way is found.
    """
    names = _names(root, files)
    for (place, image, mask), _ in _ways(names).most_common(24):
        patterns = [_pattern(place, side) for side in (image, mask)]
        pairing = _paired(root, patterns[0], patterns[1], files)
        if pairing is not None:
            return pairing
    raise BenchError(
        f"{root}: {len(files)} images, but no masks found for them: a mask has its image's name (maybe with a tag, as "
        f"x_mask), lies beside it or in a folder of its own, is {', '.join(MASK_FORMATS)}, and has at most "
        f"{MOST_VALUES} values"
    )


def _names(root: Path, files: Sequence[Path]) -> list[_Name]:
    by_folder: dict[tuple[str, ...], list[tuple[Path, str, str]]] = defaultdict(list)
    for path in files:
        *folders, name = path.relative_to(root).parts
        by_folder[tuple(folders)].append((path, *split_suffix(name)))
    found = []
    for where, some in by_folder.items():
        tags = _tags({stem for _, stem, _ in some})
        for path, stem, suffix in some:
            tag = next((tag for tag in tags if stem.endswith(tag) and stem != tag), "")
            found.append(_Name(path, where, stem[: len(stem) - len(tag)], tag, suffix.lower()))
    return found


def _tags(stems: set[str]) -> list[str]:
    """Return what names of a folder have in common at their end, or what some have more than others; longest first."""
    ends = Counter[str]()
    for stem in stems:
        ends.update(stem[i:] for i, mark in enumerate(stem) if mark in _TAG_MARKS and i)
    least = max(_LEAST_SHARE * len(stems), 2)
    common = {end for end, count in ends.items() if count >= least and not end.strip(_TAG_MARKS).isdigit()}
    more = Counter(end for stem in stems for end in ends_of(stem) if stem[: len(stem) - len(end)] in stems)
    common |= {end for end, count in more.items() if count >= 0.25 * len(stems) and not end.strip(_TAG_MARKS).isdigit()}
    return sorted(common, key=lambda tag: (-len(tag), tag))


def ends_of(stem: str) -> Iterable[str]:
    """Yield the ends of a name that begin with a mark."""
    return (stem[i:] for i, mark in enumerate(stem) if mark in _TAG_MARKS and i)


def _ways(names: Sequence[_Name]) -> Counter[tuple[int | None, _Side, _Side]]:
    """Count the pairs that each way of pairing makes: the place of the folder that differs, the image's and the mask's."""
    votes = Counter[tuple[int | None, _Side, _Side]]()
    places: list[int | None] = [None, *range(max((len(name.folders) for name in names), default=0))]
    for place in places:
        groups: dict[tuple[tuple[str, ...], str], list[_Side]] = defaultdict(list)
        for name in names:
            if place is not None and place >= len(name.folders):
                continue
            if place not in (None, 0, len(name.folders) - 1):  # no pattern says so
                continue
            rest = name.folders if place is None else (*name.folders[:place], "*", *name.folders[place + 1 :])
            folder = "" if place is None else name.folders[place]
            groups[rest, name.core].append(_Side(folder, name.tag, name.suffix))
        for sides in groups.values():
            if len(sides) > _MOST_ALIKE:
                continue
            for image in sides:
                for mask in sides:
                    differ = (image.folder == mask.folder) == (place is None) and image != mask
                    if differ and image.suffix in IMAGE_SUFFIXES and mask.suffix in MASK_FORMATS:
                        votes[place, image, mask] += 1
    by_folder: dict[tuple[str, ...], list[_Side]] = defaultdict(list)
    for name in names:
        by_folder[name.folders].append(_Side("", name.core + name.tag, name.suffix))
    for folders, sides in by_folder.items():
        if not folders or len(sides) > _MOST_ALIKE:
            continue
        votes.update((FOLDER, a, b) for a in sides for b in sides if a != b and b.suffix in MASK_FORMATS)
    return votes


def _pattern(place: int | None, side: _Side) -> str:
    """Return the option that says where a side's files lie."""
    suffix = side.suffix if side.suffix in MASK_FORMATS and side.suffix != MASK_SUFFIX else ""
    if place is None:
        return f"{{id}}{side.tag}{suffix}"
    if place == FOLDER:
        return f"{{id}}/{side.tag}{suffix}"
    if place == 0:
        return side.folder if not (side.tag or suffix) else f"{side.folder}/{{id}}{side.tag}{suffix}"
    return f"{{folder}}/{side.folder}/{{name}}{side.tag}{suffix}"


def _paired(root: Path, images: str, masks: str, files: Sequence[Path]) -> Pairing | None:
    """Pair all files in one way; None where what would be masks have too many values, or too few are paired."""
    mask_places = Places(root, masks, (MASK_SUFFIX,), "mask", tuple(MASK_FORMATS))
    image_pattern = images if "{" not in images else images.removesuffix(PurePosixPath(images).suffix)
    image_places = Places(root, image_pattern, IMAGE_SUFFIXES, "image")
    pairs: dict[str, tuple[Path, Path]] = {}
    bare: dict[str, Path] = {}
    taken: set[Path] = set()
    for path in files:
        image_id = image_places.id_of(path)
        mask = None if image_id is None else next(iter(mask_places.candidates(image_id)), None)
        if image_id is None or mask is None or mask == path:
            continue
        pairs[image_id] = (path, mask)
        taken |= {path, mask}
    if not pairs:
        return None
    colours = _kind([mask for _, mask in pairs.values()], [image for image, _ in pairs.values()])
    if colours is None:
        return None
    elsewhere, shown = [], {path.stem for pair in pairs.values() for path in pair}
    for path in files:
        if path in taken or path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        image_id = image_places.id_of(path)
        if image_id is not None and mask_places.id_of(path) is None:
            bare[image_id] = path
        elif mask_places.id_of(path) is None and path.stem not in shown:  # else it is the same image, drawn over
            elsewhere.append(path)
    return Pairing(image_pattern, masks, dict(sorted(pairs.items())), dict(sorted(bare.items())), elsewhere, colours)


def _kind(masks: Sequence[Path], images: Sequence[Path]) -> bool | None:
    """Return whether masks are coded by colours; None where they can't be masks, or the images look more like ones."""
    step = max(len(masks) // _SAMPLED, 1)
    try:
        sampled = [distinct(path) for path in masks[::step][:_SAMPLED]]
    except BenchError:
        return None
    if max(count for count, _ in sampled) > MOST_VALUES:
        return None
    others = [read_header(path) for path in images[::step][:_SAMPLED]]
    if all(header.format != "JPEG" for header in others):
        shown = [count for count, _ in _distinct_images(images[::step][:_SAMPLED])]
        if np.median(shown) <= np.median([count for count, _ in sampled]):
            return None
    return any(colour for _, colour in sampled)


def _distinct_images(paths: Sequence[Path]) -> list[tuple[int, bool]]:
    return on_threads(lambda path: _count(Image.open(open_file(path)), path), list(paths))


def distinct(path: Path) -> tuple[int, bool]:
    """Return how many values or colours a mask has, and whether it is coded by colours.

    Raises:
        BenchError: if it can't be a mask.
    """
    return _count(load_mask(path), path)


def _count(image: Image.Image, path: Path) -> tuple[int, bool]:
    if image.mode in ("1", "L", "P"):
        return len(np.unique(np.asarray(image))), False
    rgb = colours_of(image, path).reshape(-1, 3).astype(np.uint32)
    return len(np.unique(rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2])), True
