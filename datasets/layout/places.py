"""Where a dataset's images and masks lie: an id's file is found by its name, its suffix in any case."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bench.errors import BenchError

ID = "{id}"
_SHOWN = 3


class Places:
    """The files of ids under a pattern.

    Args:
        root: the dataset's folder.
        pattern: a path in it in which ``{id}`` stands for the id; without ``{id}``, the folder of ``{id}``. Where it has
            no suffix, any of `suffixes` will do.
        suffixes: that a file may have, lower case; they are compared in any case.
        what: ``image`` or ``mask``, for messages.
    """

    def __init__(self, root: Path, pattern: str, suffixes: Sequence[str], what: str) -> None:
        self.root, self.what = root, what
        pattern = pattern if ID in pattern else f"{pattern}/{ID}"
        written = PurePosixPath(pattern.replace(ID, "x")).suffix.lower()
        self.suffixes = (written,) if written in suffixes else tuple(suffixes)
        self.stem = pattern[: -len(written)] if written in suffixes else pattern
        self._folders: dict[str, dict[str, list[str]]] = {}

    def look_again(self) -> None:
        """Forget what lies in the folders."""
        self._folders.clear()

    def nominal(self, image_id: str) -> Path:
        """Return where an id's file would be, with the first suffix."""
        return self.root / f"{self.stem.replace(ID, image_id)}{self.suffixes[0]}"

    def candidates(self, image_id: str) -> list[Path]:
        """Return the files that an id names, sorted."""
        folder, _, name = self.stem.replace(ID, image_id).rpartition("/")
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
        pattern = "(?P<id>.+)".join(map(re.escape, self.stem.split(ID, 1))).replace(re.escape(ID), "(?P=id)")
        match = re.fullmatch(pattern, stem)
        return match["id"] if match and suffix.lower() in self.suffixes else None

    def missing(self, image_id: str) -> str:
        """Return a problem in words: there is no file for an id, and what lies there instead."""
        folder, _, name = self.stem.replace(ID, image_id).rpartition("/")
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
