"""Official archives and extracted trees as one set of members, which are read by path.

Nothing is ever extracted under a name that an archive gives: a dataset reads the members that it knows and writes files
that it names itself. An archive that holds anything that could harm an extraction is refused as a whole nevertheless.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from bench.errors import BenchError
from bench.files import file_digest
from bench.patience import LARGE, read_bytes
from datasets.layout.files import escapes, reason

ARCHIVE_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip")
MAX_MEMBER_BYTES = 256 * 2**20  # far above any image of these datasets; a bomb would fill the memory
# What the standard library raises for damaged archives, encrypted and unsupported members included.
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, RuntimeError, KeyError),
)


class Origin(Protocol):
    """An archive, a folder, or whatever else files are made of."""

    path: Path

    def members(self) -> Iterator[tuple[str, int]]:
        """Give each file's path and size, in the order in which reading is quick."""

    def read(self, index: int) -> bytes:
        """Return the content of the file that `members` gave at this position."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True)
class Member:
    """A file in an archive or in a tree.

    Attributes:
        where: how messages call it: the archive's path with the member's behind it.
        origin: what holds it.
        index: its position there; reading in this order never goes back.
        size: in bytes.
    """

    where: Path
    origin: Origin
    index: int
    size: int

    def read(self, limit: int | None = None) -> bytes:
        """Return the content.

        Raises:
            BenchError: if it is damaged or larger than `limit` (by default :data:`MAX_MEMBER_BYTES`) bytes, which no such
                file of these datasets is.
        """
        if self.size > (limit or MAX_MEMBER_BYTES):
            raise BenchError(f"{self.where}: {self.size:,} bytes, more than any file of this dataset can have")
        try:
            return self.origin.read(self.index)
        except _DAMAGED as error:
            raise BenchError(f"{self.where}: can't be read ({reason(error)}); get it again") from None


def _refuse(archive: Path, name: str, fault: str) -> BenchError:
    return BenchError(
        f"{archive}: member {name!r} {fault}; such an archive is refused: get the official one, or extract it yourself "
        "and give the folder"
    )


def _check_path(archive: Path, name: str) -> None:
    if escapes(name):
        raise _refuse(archive, name, "has a path that leads out of the archive")


class _Tree:
    """A folder's files. Links are followed, since the user made them; in archives they are refused."""

    def __init__(self, path: Path, exclude: Path) -> None:
        self.path = path
        self._files: list[Path] = []
        seen: set[Path] = {path.resolve(), exclude.resolve()}
        for folder, subfolders, names in os.walk(path, followlinks=True):
            subfolders[:] = sorted(s for s in subfolders if self._is_new(Path(folder, s).resolve(), seen))
            self._files += [Path(folder, name) for name in sorted(names)]

    @staticmethod
    def _is_new(folder: Path, seen: set[Path]) -> bool:
        new = folder not in seen
        seen.add(folder)
        return new

    def members(self) -> Iterator[tuple[str, int]]:
        for file in self._files:
            size = file.stat().st_size if file.is_file() else 0
            yield file.relative_to(self.path).as_posix(), size

    def read(self, index: int) -> bytes:
        return read_bytes(self._files[index], LARGE)

    def close(self) -> None:
        self._files = []


class _Tar:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path, "r:*")  # noqa: SIM115 - closed by close()
        try:
            self._infos = [info for info in self._tar.getmembers() if self._is_file(info)]
            self._check_end()
        except BaseException:
            self._tar.close()
            raise

    def _check_end(self) -> None:
        """Raise where the archive ends in a header, or a header is damaged: tarfile takes either for the end."""
        file = self._tar.fileobj
        assert file is not None
        file.seek(self._tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end-of-archive mark")

    def _is_file(self, info: tarfile.TarInfo) -> bool:
        _check_path(self.path, info.name)
        if info.issym() or info.islnk():
            raise _refuse(self.path, info.name, "is a link")
        if not (info.isreg() or info.isdir()):
            raise _refuse(self.path, info.name, "is neither a file nor a folder")
        return info.isreg()

    def members(self) -> Iterator[tuple[str, int]]:
        for info in self._infos:
            yield info.name, info.size

    def read(self, index: int) -> bytes:
        file = self._tar.extractfile(self._infos[index])
        assert file is not None  # only regular files are members
        data = file.read()
        if len(data) < self._infos[index].size:
            raise EOFError("the archive ends in it")
        return data

    def close(self) -> None:
        self._tar.close()


class _Zip:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)
        try:
            self._infos = [info for info in self._zip.infolist() if self._is_file(info)]
        except BaseException:
            self._zip.close()
            raise

    def _is_file(self, info: zipfile.ZipInfo) -> bool:
        _check_path(self.path, info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind == stat.S_IFLNK:
            raise _refuse(self.path, info.filename, "is a link")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refuse(self.path, info.filename, "is neither a file nor a folder")
        return not info.is_dir()

    def members(self) -> Iterator[tuple[str, int]]:
        for info in self._infos:
            yield info.filename, info.file_size

    def read(self, index: int) -> bytes:
        return self._zip.read(self._infos[index])

    def close(self) -> None:
        self._zip.close()


def _stem(path: Path) -> str | None:
    """Return an archive's name without its suffix, or None for what isn't one."""
    suffix = max((s for s in ARCHIVE_SUFFIXES if path.name.lower().endswith(s)), key=len, default=None)
    return None if suffix is None else path.name[: -len(suffix)]


def _open(path: Path) -> _Tar | _Zip:
    try:
        return _Zip(path) if path.suffix.lower() == ".zip" else _Tar(path)
    except _DAMAGED as error:
        raise BenchError(f"{path}: not a whole archive ({reason(error)}); get it again") from None


class Sources:
    """The files beneath a folder and in the archives that lie there, by path. A context manager.

    Of a path that several hold, the folder's own file counts: a tree is read faster than an archive. An archive's members
    are found beneath its name without suffix: ``benchmark/benchmark_RELEASE/dataset/cls/2008_000002.mat``.

    Args:
        folder: what the user gave.
        archives: beginnings of the names of this dataset's archives; others aren't opened.
        exclude: a folder to leave out, for a dataset that is prepared beneath its own source.
    """

    def __init__(self, folder: Path, archives: Sequence[str], exclude: Path) -> None:
        self.folder = folder
        self.members: dict[str, Member] = {}
        self._archives = tuple(archives)
        self._exclude = exclude
        self._stack = ExitStack()

    def __enter__(self) -> Sources:
        """Read every table of contents.

        Raises:
            BenchError: if there is no such folder, or an archive is damaged or holds what it must not.
        """
        if not self.folder.is_dir():
            raise BenchError(f"--from {self.folder}: there is no such folder; give the one that holds the archives")
        with self._stack:
            self._add(_Tree(self.folder, self._exclude), "")
            for member in list(self.members.values()):
                stem = _stem(member.where)
                if stem is not None and member.where.name.startswith(self._archives):
                    self._add(_open(member.where), stem)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.close()

    def _add(self, origin: _Tree | _Tar | _Zip, prefix: str) -> None:
        self._stack.callback(origin.close)
        own: dict[str, Member] = {}
        for index, (name, size) in enumerate(origin.members()):
            path = PurePosixPath(prefix, name).as_posix()
            own[path] = Member(origin.path / name, origin, index, size)
        for path, member in own.items():
            self.members.setdefault(path, member)

    def find(self, pattern: str) -> dict[str, Member]:
        """Return the members whose whole path matches, by the pattern's first group."""
        compiled = re.compile(pattern)
        found: dict[str, Member] = {}
        for path, member in self.members.items():
            match = compiled.fullmatch(path)
            if match is not None:
                found.setdefault(match[1], member)
        return found

    def lines(self, member: Member) -> list[str]:
        """Return the lines of a list that aren't blank.

        Raises:
            BenchError: if it isn't text.
        """
        try:
            lines = member.read().decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise BenchError(f"{member.where}: not a text file in UTF-8") from None
        return [line.strip() for line in lines if line.strip()]


def archives_of(members: Sequence[Member]) -> list[Path]:
    """Return the archives and folders that hold the members, sorted."""
    return sorted({member.origin.path for member in members})


def verify_md5(archives: Sequence[Path], published: Mapping[str, str]) -> None:
    """Compare archives with their published checksums, where there are any.

    Raises:
        BenchError: naming the first one that differs.
    """
    for path in archives:
        expected = published.get(path.name)
        if expected is None or not path.is_file():
            continue
        found = file_digest(path, "md5")
        if found != expected:
            raise BenchError(f"{path}: MD5 {found}, published {expected}: damaged, or another one")
