"""Which image a line of somebody's list names: the one written, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from bench.errors import BenchError
from datasets.base import SegmentationDataset, SplitName
from datasets.layout.decode import IMAGE_SUFFIXES, MASK_SUFFIXES

# Cityscapes' image files carry it behind the id.
_IMAGE_TAG = "_leftImg8bit"
_SUFFIXES = {*IMAGE_SUFFIXES, *MASK_SUFFIXES}
_TAG = "_-."  # with which a mask's name may go on behind the image's
Parts = tuple[str, ...]


class NotOneImageError(Exception):
    """A line names no training image, or could name several; the message says why."""


class Names:
    """The images of a dataset by what lists call them.

    Args:
        dataset: a name of one of its images outside the training list is recognised, so that it isn't taken for another's.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        self._identify = dataset.names_identify
        self._root: Parts = PurePosixPath(dataset.root.absolute().as_posix()).parts[1:]
        self._train = frozenset(dataset.ids("train"))
        self._exact: dict[Parts, set[str]] = {}
        self._ends: dict[str, set[str]] = {}
        self._files: dict[str, list[Parts]] = {}
        for image_id, path in _known(dataset).items():
            forms = [tuple(image_id.split("/"))]
            forms += [_without_suffix(path.parts)] if path is not None else []
            self._files[image_id] = forms
            for form in forms:
                self._exact.setdefault(form, set()).add(image_id)
                self._ends.setdefault(form[-1], set()).add(image_id)

    def find(self, line: str) -> str:
        """Return the training id that a line names.

        A line is an id or the path of an image, maybe with the path of its mask behind it, suffix included. The whole line
        is tried first; then it is cut at white space, where both sides must name the same image.

        Raises:
            NotOneImageError: if it names none, one outside the training list, or could name several.
        """
        found = self._image(line)
        if not found:
            cuts = [(line[: m.start()], line[m.end() :]) for m in re.finditer(r"\s+", line)]
            sides = [(image_id, mask) for image, mask in cuts for image_id in self._image(image)]
            found = {image_id for image_id, mask in sides if self._is_mask(mask, image_id)}
            if sides and not found:
                image_id, mask = sides[0]
                raise NotOneImageError(f"'{mask}' isn't the mask of '{image_id}'")
        if len(found) > 1:
            raise NotOneImageError(f"could be {' or '.join(sorted(found)[:3])}")
        if not found:
            raise NotOneImageError(self._why(line))
        (image_id,) = found
        if image_id not in self._train:
            raise NotOneImageError("not a training image")
        return image_id

    def _image(self, text: str) -> set[str]:
        """Return the images that a path, without anything behind it, may name."""
        parts = _parts(text)
        if parts is None:
            return set()
        spaced = bool(re.search(r"\s", text))
        forms = list(dict.fromkeys([parts, _without_suffix(parts), _untagged(_without_suffix(parts))]))
        exact = {image_id for form in forms for image_id in self._exact.get(form, ())}
        if exact:
            return exact
        alike = {i for form in forms for i in self._ends.get(form[-1], ()) if self._ends_alike(i, form, spaced)}
        longest = {i for i in alike for form in forms if "/" in i and form[-i.count("/") - 1 :] == tuple(i.split("/"))}
        return longest if self._identify and longest else alike

    def _ends_alike(self, image_id: str, form: Parts, spaced: bool) -> bool:
        """Tell whether a path may be an image's: it has the whole id, and no folder before it contradicts the image's."""
        if self._identify and not spaced:
            return True
        if len(form) <= image_id.count("/"):
            return False
        for known in self._files[image_id]:
            whole = (*self._root, *known)
            if whole[-len(form) :] == form:
                return True
            if len(known) > 1 and form[-len(known) :] == known and not spaced:
                return True
        return False

    def _is_mask(self, text: str, image_id: str) -> bool:
        """Tell whether a path can be the mask of an image: its name, maybe with a tag behind it, in its folder.

        It has a file's suffix: without one, `1 1` could be a mask of `1` as well as an image that isn't there.
        """
        parts = _parts(text)
        if parts is None or PurePosixPath(parts[-1]).suffix.lower() not in _SUFFIXES:
            return False
        *folders, name = _without_suffix(parts)
        for known in self._files[image_id]:
            stem = known[-1]
            tagged = name.startswith(stem) and name[len(stem) :][:1] in _TAG and name not in self._ends
            if name == stem or (tagged and name != stem):
                return self._agree(folders, tuple(image_id.split("/"))[:-1])
        return False

    def _agree(self, folders: Sequence[str], wanted: Parts) -> bool:
        return self._identify or not wanted or tuple(folders[-len(wanted) :]) == wanted

    def _why(self, line: str) -> str:
        parts = _parts(line)
        alike = sorted(self._ends.get(_without_suffix(parts)[-1], ())) if parts else []
        if alike:
            return f"its folder isn't that of {' or '.join(alike[:3])}"
        return "no such image"


def _known(dataset: SegmentationDataset) -> dict[str, Path | None]:
    """Return the images of all splits that there are, with their file in the dataset's folder where it is known."""
    found: dict[str, Path | None] = {}
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    for split in splits:
        try:
            ids, files = dataset.ids(split), dataset.files(split)
        except BenchError:
            if split == "train":
                raise
            continue
        for image_id in ids:
            found.setdefault(image_id, _relative(dataset.root, files.get(image_id, ())))
    return found


def _relative(root: Path, files: Sequence[Path]) -> Path | None:
    return files[0].relative_to(root) if files and files[0].is_relative_to(root) else None


def _parts(text: str) -> Parts | None:
    """Return a path's parts, those of Windows too; None where it isn't one that can name an image."""
    parts = PurePosixPath(text.replace("\\", "/")).parts
    parts = tuple(part for part in parts if part not in ("/", "//"))
    return None if not parts or ".." in parts else parts


def _without_suffix(parts: Parts) -> Parts:
    name = PurePosixPath(parts[-1])
    return (*parts[:-1], name.stem) if name.suffix.lower() in _SUFFIXES else tuple(parts)


def _untagged(parts: Parts) -> Parts:
    return (*parts[:-1], parts[-1].removesuffix(_IMAGE_TAG))


def read_names(names: Names, lines: Mapping[int, str]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the ids that lines name by line number, and why the others name none."""
    found, refused = dict[int, str](), dict[int, str]()
    for number, text in lines.items():
        try:
            found[number] = names.find(text)
        except NotOneImageError as error:
            refused[number] = str(error)
    return found, refused
