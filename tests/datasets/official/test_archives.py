"""Reading archives and trees: the same members, and everything that must be refused."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import BenchError
from datasets.official import archives
from datasets.official.archives import Sources, archives_of, verify_md5
from tests.datasets.archived import write_tar, write_tree, write_zip

FILES = {"a/one.txt": b"1\n\n 2 \n", "a/b/two.bin": b"\0\1" * 2000, "three": b""}
ELSEWHERE = Path("/nowhere")


def read_all(folder: Path, archives: tuple[str, ...] = ("data",)) -> dict[str, bytes]:
    with Sources(folder, archives, ELSEWHERE) as sources:
        return {path: member.read() for path, member in sources.members.items()}


@pytest.mark.parametrize("name", ["data.tar", "data.tgz", "data.tar.gz", "data.zip"])
def test_every_kind_of_archive_gives_its_members(tmp_path: Path, name: str) -> None:
    (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, FILES)
    found = read_all(tmp_path)
    assert {p: d for p, d in found.items() if p != name} == {f"data/{p}": d for p, d in FILES.items()}


def test_a_tree_gives_its_files_and_those_behind_links(tmp_path: Path) -> None:
    write_tree(tmp_path / "elsewhere", FILES)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert read_all(tmp_path / "given") == {f"link/{p}": d for p, d in FILES.items()}


def test_the_tree_counts_before_the_archive(tmp_path: Path) -> None:
    write_tree(tmp_path, {"x/a.txt": b"tree"})
    write_tar(tmp_path / "data.tar", {"x/a.txt": b"archive", "x/b.txt": b"archive"})
    with Sources(tmp_path, ("data",), ELSEWHERE) as sources:
        found = sources.find(r"(?:.*/)?x/(\w+)\.txt")
        assert {k: m.read() for k, m in found.items()} == {"a": b"tree", "b": b"archive"}
        assert archives_of(list(found.values())) == [tmp_path, tmp_path / "data.tar"]


def test_other_archives_and_the_excluded_folder_are_left_alone(tmp_path: Path) -> None:
    write_tree(tmp_path, {"other.zip": b"not an archive", "out/a": b"", "in/a": b"x"})
    with Sources(tmp_path, ("data",), tmp_path / "out") as sources:
        assert set(sources.members) == {"other.zip", "in/a"}


def test_lines(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.txt": b"\xef\xbb\xbf1\r\n\r\n 2 ", "b.txt": b"\xff"})
    with Sources(tmp_path, (), ELSEWHERE) as sources:
        assert sources.lines(sources.members["a.txt"]) == ["1", "2"]
        with pytest.raises(BenchError, match=r"b\.txt: not a text file in UTF-8"):
            sources.lines(sources.members["b.txt"])


def add_tar_member(path: Path, name: str, kind: bytes, target: str = "") -> None:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)


def add_zip_member(path: Path, name: str, mode: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"/etc/passwd")


HARMFUL: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "absolute": ("data.tar", lambda p: write_tar(p, {"/etc/x": b""}), "leads out of the archive"),
    "dots": ("data.tgz", lambda p: write_tar(p, {"a/../../x": b""}), "leads out of the archive"),
    "zip absolute": ("data.zip", lambda p: write_zip(p, {"/etc/x": b""}), "leads out of the archive"),
    "zip dots": ("data.zip", lambda p: write_zip(p, {"../x": b""}), "leads out of the archive"),
    "backslash": ("data.zip", lambda p: write_zip(p, {"..\\x": b""}), "leads out of the archive"),
    "symlink": ("data.tar", lambda p: add_tar_member(p, "x", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
    "harmless symlink": ("data.tar", lambda p: add_tar_member(p, "x", tarfile.SYMTYPE, "y"), "is a link"),
    "hard link": ("data.tar", lambda p: add_tar_member(p, "x", tarfile.LNKTYPE, "y"), "is a link"),
    "zip symlink": ("data.zip", lambda p: add_zip_member(p, "x", stat.S_IFLNK | 0o777), "is a link"),
    "device": ("data.tar", lambda p: add_tar_member(p, "x", tarfile.BLKTYPE), "neither a file nor a folder"),
    "fifo": ("data.tar", lambda p: add_tar_member(p, "x", tarfile.FIFOTYPE), "neither a file nor a folder"),
    "zip fifo": ("data.zip", lambda p: add_zip_member(p, "x", stat.S_IFIFO), "neither a file nor a folder"),
}


@pytest.mark.parametrize("case", HARMFUL)
def test_harmful_archives_are_refused(tmp_path: Path, case: str) -> None:
    name, make, fault = HARMFUL[case]
    make(tmp_path / name)
    with pytest.raises(BenchError, match=fault) as error:
        read_all(tmp_path)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["data.tar", "data.tgz", "data.zip"])
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_truncated_archives_are_told(tmp_path: Path, name: str, share: float) -> None:
    files = {f"{i}.bin": os.urandom(3000) for i in range(4)}
    path = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, files)
    size = sum(len(d) for d in files.values()) if name == "data.tar" else path.stat().st_size
    path.write_bytes(path.read_bytes()[: int(share * size)])
    with pytest.raises(BenchError, match=r"data\.\w+: not a whole archive \(.+\); get it again"):
        read_all(tmp_path)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"a/x.bin": b"x" * 5000, "y": b"y"})
    data = bytearray(path.read_bytes())
    at = data.index(b"a/x.bin") + len("a/x.bin")
    data[at + 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(BenchError, match=r"data\.zip/a/x\.bin: can't be read \(.+\); get it again"):
        read_all(tmp_path)


def test_a_member_larger_than_any_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    write_zip(tmp_path / "data.zip", {"bomb": b"0" * 101})
    with Sources(tmp_path, ("data",), ELSEWHERE) as sources, pytest.raises(BenchError, match="101 bytes, more than"):
        sources.members["data/bomb"].read()


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--from .*/none: there is no such folder"):
        read_all(tmp_path / "none")


def test_checksums(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "data.tar", FILES)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    verify_md5([path, tmp_path, tmp_path / "other.tar"], {"data.tar": digest})
    with pytest.raises(BenchError, match=rf"data\.tar: MD5 {digest}, published 0000: damaged"):
        verify_md5([path], {"data.tar": "0000"})


def test_the_archive_is_closed_after_a_refusal(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "data.zip").write_bytes(b"not a zip")
    write_tar(tmp_path / "data.tar", {"../x": b""})
    for _ in range(3):
        with pytest.raises(BenchError):
            read_all(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
