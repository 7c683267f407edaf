"""Opens a bundle and verifies it: names, kinds, sizes and hashes of its members, before anything is unpacked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from bench.errors import BenchError
from bench.files import file_digest
from bench.patience import open_file
from bench.spec.messages import one_line
from bench.store.bundle.layout import FORMAT, FORMAT_VERSION, MANIFEST, Manifest, hash_of, is_member, is_name, run_of

READ_AT_ONCE = 256 << 20  # bytes; the files that are read whole are far smaller
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class Bundle:
    """An open bundle whose members are those of its manifest; :meth:`verify` has yet to look at their contents.

    Attributes:
        path: its file.
        sha256: of the file.
        manifest: what it says of itself.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._zip = path, archive
        members = archive.infolist()
        for info in members:
            self._check_kind(info)
        twice = [name for name, count in Counter(info.filename for info in members).items() if count > 1]
        if twice:
            self.refuse(twice[0], "is there twice")
        self.manifest = self._read_manifest()
        self._check_members({info.filename: info.file_size for info in members})
        self.sha256 = file_digest(path)

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise the error that names the bundle and a member.

        Raises:
            BenchError: always.
        """
        where = "" if not name else f" {_shown(name)}:"
        raise BenchError(f"{self.path}:{where} {why}; nothing was merged")

    @property
    def size(self) -> int:
        """Bytes of all members together."""
        return sum(entry.size for entry in self.manifest.files.values())

    def files_of(self, run_id: str) -> list[str]:
        """Return the paths of a run's files in its directory."""
        return self._of_run[run_id]

    def hashes(self, folder: str) -> list[str]:
        """Return the hashes by which the members of a folder, `splits` or `data`, are named."""
        found = (hash_of(name) for name in self.manifest.files)
        return [entry[1] for entry in found if entry is not None and entry[0] == folder]

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member, which is checked against the manifest on the way.

        Raises:
            BenchError: if it isn't what the manifest says.
        """
        entry, digest, length = self.manifest.files[name], hashlib.sha256(), 0
        with self._reading(name), self._zip.open(name) as member:
            while chunk := member.read(1 << 20):
                digest.update(chunk)
                length += len(chunk)
                yield chunk
        if (length, digest.hexdigest()) != (entry.size, entry.sha256):
            self.refuse(
                name, "its content isn't what the manifest says (SHA-256 differs): the file was damaged or changed"
            )

    def verify(self) -> None:
        """Read every member and check its hash.

        Raises:
            BenchError: naming the first that isn't what the manifest says.
        """
        for name in self.manifest.files:
            for _ in self.chunks(name):
                pass

    def read(self, name: str) -> bytes | None:
        """Return the content of a member, or None where there is none.

        Raises:
            BenchError: if it isn't what the manifest says.
        """
        if name not in self.manifest.files:
            return None
        if self.manifest.files[name].size > READ_AT_ONCE:
            self.refuse(name, f"has more than the {READ_AT_ONCE >> 20} MiB that such a file may have")
        return b"".join(self.chunks(name))

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a member that holds a JSON object.

        Raises:
            BenchError: if there is none, or it holds anything else.
        """
        content = self.read(name)
        if content is None:
            self.refuse(name, "is missing")
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            self.refuse(name, f"is no JSON ({error})")
        if not isinstance(value, dict):
            self.refuse(name, "is no JSON object")
        return value

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            self.refuse(name, f"can't be read ({' '.join(str(error).split()) or type(error).__name__}): it is damaged")

    def _check_kind(self, info: zipfile.ZipInfo) -> None:
        """Refuse what is no regular file, and names that could lead elsewhere."""
        name, mode = info.filename, info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or info.is_dir():
            self.refuse(name, "is no regular file (a link, a folder or a device)")
        if name != MANIFEST and not is_member(name):
            self.refuse(name, "is no name that a member of a bundle has")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self.refuse(name, "is encrypted, or compressed in a way that bundles aren't")

    def _read_manifest(self) -> Manifest:
        try:
            info = self._zip.getinfo(MANIFEST)
        except KeyError:
            self.refuse(MANIFEST, "is missing: this is no bundle")
        if info.file_size > READ_AT_ONCE:
            self.refuse(MANIFEST, "is too large")
        with self._reading(MANIFEST):
            content = self._zip.read(info)
        try:
            raw = json.loads(content)
            if not isinstance(raw, dict) or raw.get("format") != FORMAT:
                self.refuse(MANIFEST, "this is no bundle of runs")
            if raw.get("format_version") != FORMAT_VERSION:
                self.refuse(
                    MANIFEST,
                    f"format {raw.get('format_version')!r}, by version {raw.get('tool_version')!r} of the harness; this one "
                    f"reads format {FORMAT_VERSION}",
                )
            return Manifest.model_validate(raw)
        except ValidationError as error:
            self.refuse(MANIFEST, one_line(error)[:300])
        except (ValueError, RecursionError) as error:
            self.refuse(MANIFEST, f"is no JSON ({error})")

    def _check_members(self, sizes: dict[str, int]) -> None:
        """Compare the archive's members with the manifest, and the manifest with itself."""
        listed = self.manifest.files
        for name in sizes:
            if name != MANIFEST and name not in listed:
                self.refuse(name, "isn't in the manifest")
        for name, entry in listed.items():
            if name not in sizes or name == MANIFEST:
                self.refuse(name, "is in the manifest but not in the archive")
            if sizes[name] != entry.size:
                self.refuse(name, f"has {sizes[name]:,} bytes, the manifest says {entry.size:,}")
        self._of_run: dict[str, list[str]] = {}
        for run_id, file in filter(None, map(run_of, listed)):
            self._of_run.setdefault(run_id, []).append(file)
        if odd := self._of_run.keys() ^ self.manifest.runs.keys():
            self.refuse(f"runs/{min(odd)}", "the manifest's list of runs and its files don't agree")
        if not is_name(self.manifest.grid):
            self.refuse(MANIFEST, f"the grid's name {self.manifest.grid!r} can't be a file's")


def _shown(name: str) -> str:
    """Return a member's name as one short line, whatever is in it."""
    return ascii(name)[1:-1][:120]


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle, as long as the context lasts.

    Raises:
        BenchError: if it is no bundle, its directory is damaged, or a member has a name or a kind that bundles don't have.
        Damaged: if no regular file lies there.
        OSError: if the file can't be opened.
    """
    with io.BufferedReader(open_file(path)) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (*_BROKEN, IndexError, UnicodeError) as error:
            size = os.fstat(file.fileno()).st_size
            raise BenchError(
                f"{path}: no bundle, or cut short: not a whole ZIP archive of {size:,} bytes ({error}); nothing was merged"
            ) from None
        with archive:
            yield Bundle(path, archive)
