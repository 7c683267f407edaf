"""Where a dataset's images and masks lie: an id's file is found by its name, its suffix in any case."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from bench.errors import BenchError
from datasets.layout.decode import IMAGE_SUFFIXES

ID = "{id}"
PLACEHOLDER = re.compile(r"\{(?:id|folder|name)\}")
_SHOWN = 3


class Places:
    """The files of ids under a pattern.

    Args:
        root: the dataset's folder.
        pattern: a path in it in which ``{id}`` stands for the id, or ``{folder}`` and ``{name}`` for what stands before and
            behind its last slash; without any of them, the folder of ``{id}``. Where it has no suffix, any of `suffixes`
            will do.
        suffixes: that a file may have, lower case; they are compared in any case.
        what: ``image`` or ``mask``, for messages.
        known: suffixes that a pattern may end with.
    """

    def __init__(
        self, root: Path, pattern: str, suffixes: Sequence[str], what: str, known: Sequence[str] | None = None
    ) -> None:
        self.root, self.what = root, what
        pattern = pattern if PLACEHOLDER.search(pattern) else f"{pattern}/{ID}"
        pattern = pattern.removeprefix("./")
        _, written = split_suffix(PLACEHOLDER.sub("x", pattern))
        fixed = written.lower() in (known or suffixes)
        self.suffixes = (written.lower(),) if fixed else tuple(suffixes)
        self.stem = pattern[: -len(written)] if fixed else pattern
        self._folders: dict[str, dict[str, list[str]]] = {}

    def _stem(self, image_id: str) -> str:
        """Return the path of an id's file in the dataset's folder, without suffix."""
        folder, _, name = image_id.rpartition("/")
        values = {ID: image_id, "{folder}": folder, "{name}": name}
        return PLACEHOLDER.sub(lambda match: values[match[0]], self.stem).lstrip("/")

    def look_again(self) -> None:
        """Forget what lies in the folders."""
        self._folders.clear()

    def nominal(self, image_id: str) -> Path:
        """Return where an id's file would be, with the first suffix."""
        return self.root / f"{self._stem(image_id)}{self.suffixes[0]}"

    def candidates(self, image_id: str) -> list[Path]:
        """Return the files that an id names, sorted."""
        folder, _, name = self._stem(image_id).rpartition("/")
        return [self.root / folder / found for found in self._names(folder).get(name, ())]

    def find(self, image_id: str, but: Path | None = None) -> Path | None:
        """Return the file of an id, None where there is none.

        Args:
            image_id: the id.
            but: a file that it isn't: the mask is never the image.

        Raises:
            BenchError: if several files could be it.
        """
        found = [path for path in self.candidates(image_id) if path != but]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise BenchError(
                f"{found[0].parent}: '{image_id}' names several files that could be its {self.what}: {names}; keep one of "
                "them there"
            )
        return found[0] if found else None

    def id_of(self, path: Path) -> str | None:
        """Return the id that has a file, None where it can't be one's."""
        if not path.is_relative_to(self.root):
            return None
        stem, suffix = split_suffix(path.relative_to(self.root).as_posix())
        match = self._reverse.fullmatch(stem)
        if match is None or suffix.lower() not in self.suffixes:
            return None
        found = match.groupdict()
        return found["id"] if "id" in found else "/".join(filter(None, (found.get("folder"), found.get("name"))))

    @cached_property
    def _reverse(self) -> re.Pattern[str]:
        """What the path of a file looks like, without suffix."""
        parts, seen = [], set[str]()
        for part in re.split(f"({PLACEHOLDER.pattern})", self.stem):
            key = part.strip("{}")
            if not PLACEHOLDER.fullmatch(part):
                parts.append(re.escape(part))
            elif key in seen:
                parts.append(f"(?P={key})")
            else:
                parts.append(f"(?P<{key}>{'[^/]+' if key == 'name' else '.+'})")
            seen.add(key)
        return re.compile("".join(parts))

    def missing(self, image_id: str) -> str:
        """Return a problem in words: there is no file for an id, and what lies there instead."""
        folder, _, name = self._stem(image_id).rpartition("/")
        text = f"{self.root / folder}: no {self.what} '{name}' ({', '.join(self.suffixes)})"
        others = self._others(folder, name)
        return f"{text}; there is {', '.join(others[:_SHOWN])}" if others else text

    def _names(self, folder: str) -> dict[str, list[str]]:
        """Return the names in a folder by what stands before the suffix."""
        if folder not in self._folders:
            names: dict[str, list[str]] = {}
            for name in _listed(self.root / folder):
                stem, suffix = split_suffix(name)
                if suffix.lower() in self.suffixes:
                    names.setdefault(stem, []).append(name)
            self._folders[folder] = names
        return self._folders[folder]

    def _others(self, folder: str, name: str) -> list[str]:
        """Return names that a person could take for the one that is missing."""
        wanted = _folded(name)
        return [
            other
            for other in _listed(self.root / folder)
            if _folded(other) == wanted or _folded(split_suffix(other)[0]) == wanted
        ]


def split_suffix(name: str) -> tuple[str, str]:
    """Return what stands before a name's suffix, and the suffix with its point."""
    return os.path.splitext(name)  # noqa: PTH122 (of up to 100,000 names; Path takes several times as long)


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names alone, of up to 100,000 files)
    except OSError:
        return []


def _folded(name: str) -> str:
    """Return a name without case, and with accents written in one way (macOS writes them in another)."""
    return unicodedata.normalize("NFC", name).casefold()


def images_in(folder: Path, more: Sequence[str] = ()) -> list[Path]:
    """Return the images in a folder, at any depth, sorted; hidden files and folders are passed over.

    Args:
        folder: where to look.
        more: suffixes that count as those of images too.
    """
    suffixes = {*IMAGE_SUFFIXES, *more}
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(where, name)
            for name in names
            if not name.startswith(".") and split_suffix(name)[1].lower() in suffixes
        ]
    return sorted(found)
