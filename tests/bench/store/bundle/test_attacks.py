"""Bundles that are damaged, forged or hostile: each is refused in one line that names the file, and nothing is written."""

from __future__ import annotations

import hashlib
import json
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import BenchError
from bench.spec.cell import canonical
from bench.store.bundle.merge import merge
from bench.store.bundle.write import write_bundle
from tests.bench.store.bundle.conftest import Lab
from tests.bench.store.bundle.test_merge import content

Members = list[tuple[zipfile.ZipInfo, bytes]]


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def write(path: Path, found: Members, manifest: dict[str, Any] | None = None) -> None:
    """Write an archive by hand, without any of the checks; `manifest` replaces the one inside."""
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in found:
            if info.filename == "manifest.json" and manifest is not None:
                data = json.dumps(manifest).encode()
            fresh = zipfile.ZipInfo(info.filename)
            fresh.filename = info.filename  # as it is, whatever ZipInfo would make of it
            fresh.external_attr, fresh.compress_type = info.external_attr, zipfile.ZIP_DEFLATED
            archive.writestr(fresh, data)


def manifest_of(found: Members) -> dict[str, Any]:
    return dict(json.loads(next(data for info, data in found if info.filename == "manifest.json")))


def entry(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def added(name: str, data: bytes = b"x", mode: int = 0o100644, listed: bool = True) -> Callable[[Path], None]:
    """Return what adds a member to a bundle."""

    def change(path: Path) -> None:
        found, info = members(path), zipfile.ZipInfo("x")
        info.filename, info.external_attr = name, mode << 16
        manifest = manifest_of(found)
        if listed:
            manifest["files"][name] = entry(data)
        write(path, [*found, (info, data)], manifest)

    return change


def forged(kind: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return what changes the JSON of the first member whose name ends so, and makes the manifest fit."""

    def edit(path: Path) -> None:
        found = members(path)
        manifest = manifest_of(found)
        place = next(i for i, (info, _) in enumerate(found) if info.filename.endswith(kind))
        info, data = found[place]
        data = json.dumps(change(json.loads(data))).encode() if kind.endswith(".json") else change(data)
        found[place] = info, data
        manifest["files"][info.filename] = entry(data)
        write(path, found, manifest)

    return edit


def said(**facts: Any) -> Callable[[Path], None]:
    """Return what changes the manifest alone."""

    def change(path: Path) -> None:
        found = members(path)
        write(path, found, {**manifest_of(found), **facts})

    return change


def huge(path: Path) -> None:
    found = members(path)
    manifest = manifest_of(found)
    manifest["files"]["grid.yaml"]["size"] = 10**15
    write(path, found, manifest)


def bomb(path: Path) -> None:
    """Say in the archive's own directory, too, that a member has a petabyte."""
    huge(path)
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\1\2", 0, data.rfind(b"grid.yaml"))
    size, extra = int.from_bytes(data[place + 24 : place + 28], "little"), int.from_bytes(data[place + 30 : place + 32])
    assert size < 1000 and extra == 0
    field = b"\1\0\x08\0" + (10**15).to_bytes(8, "little")  # ZIP64: the size doesn't fit in 32 bits
    data[place + 24 : place + 28] = b"\xff" * 4
    data[place + 30 : place + 32] = len(field).to_bytes(2, "little")
    data[place + 46 + len("grid.yaml") : place + 46 + len("grid.yaml")] = field
    end = data.rfind(b"PK\5\6")
    length = int.from_bytes(data[end + 12 : end + 16], "little") + len(field)
    data[end + 12 : end + 16] = length.to_bytes(4, "little")
    path.write_bytes(data)


def twice(path: Path) -> None:
    found = members(path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        write(path, [*found, found[0]])


def missing(path: Path) -> None:
    write(path, members(path)[1:])


def flipped(path: Path) -> None:
    found = members(path)
    info, data = found[3]
    found[3] = info, bytes([data[0] ^ 1]) + data[1:]
    write(path, found)


def another_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", b"x")


def set_in(*keys: str, to: object) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        inner = value
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        return value

    return change


LINK = stat.S_IFLNK | 0o777
DEVICE = stat.S_IFCHR | 0o666
ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "traversal": (added("runs/../../evil"), "runs/../../evil: is no name"),
    "traversal within a run": (added("runs/a/../../evil.json"), "is no name"),
    "an absolute name": (added("/etc/cron.d/evil"), "/etc/cron.d/evil: is no name"),
    "a backslash": (added("runs\\..\\evil"), "is no name"),
    "a control character": (added("runs/a/x\ny"), "x\\ny: is no name"),
    "a hidden folder": (added("runs/.splits/x.json"), "is no name"),
    "a lock": (added("runs/a/lock"), "is no name"),
    "a checkpoint": (added("runs/a/checkpoint.pt"), "is no name"),
    "a link": (added("runs/a/log.txt", b"/etc/passwd", LINK), "is no regular file"),
    "a device": (added("runs/a/log.txt", b"", DEVICE), "is no regular file"),
    "a folder": (added("runs/a/", b"", stat.S_IFDIR | 0o755), "is no regular file"),
    "a file beside": (added("splits/" + "0" * 64 + ".json", listed=False), "isn't in the manifest"),
    "a run beside": (added("runs/evil/cell.json"), "runs/evil: the manifest's list of runs"),
    "a member twice": (twice, "is there twice"),
    "a member missing": (missing, "is in the manifest but not in the archive"),
    "a flipped byte": (flipped, "its content isn't what the manifest says"),
    "a truncated file": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "no bundle, or cut short"),
    "no archive": (lambda path: path.write_text("runs/"), "no bundle, or cut short"),
    "another archive": (another_archive, "holiday.jpg: is no name"),
    "sizes that aren't": (huge, "bytes, the manifest says 1,000,000,000,000,000"),
    "sizes that don't fit": (bomb, "GB free"),
    "another format": (said(format_version=2, tool_version="9.9"), "format 2, by version '9.9'"),
    "another tool": (said(format="else"), "this is no bundle"),
    "a manifest without runs": (said(runs={}), "the manifest's list of runs and its files don't agree"),
    "a manifest that is no manifest": (said(files=3), "manifest.json: files"),
    "a grid's name that leads elsewhere": (said(grid="../../evil"), "can't be a file's"),
    "another hyperparameter": (
        forged("cell.json", set_in("spec", "optimizer", "lr", to=0.9)),
        "its spec isn't what identifies it: optimizer.lr 0.05, now 0.9",
    ),
    "another identity": (forged("cell.json", set_in("identity", "optimizer", "lr", to=0.9)), "doesn't give its id"),
    "another split": (forged("cell.json", set_in("spec", "split_sha256", to="0" * 64)), "another label split"),
    "a cell that is none": (forged("cell.json", lambda _: []), "is no JSON object"),
    "another run's result": (forged("result.json", set_in("cell_id", to="b")), "it belongs to another run (b)"),
    "a better score": (
        forged("result.json", set_in("last", "miou", to=99.0)),
        "metrics.jsonl has no evaluation after 8",
    ),
    "a score that is none": (forged("result.json", set_in("best", "miou", to="x")), "is no number from 0 to 100"),
    "a state that differs": (
        forged("state.json", set_in("state", to="failed")),
        "the manifest says done, the file failed",
    ),
    "metrics that are none": (forged("metrics.jsonl", lambda data: data + b"{"), "a line is no JSON"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What each attack changes, once it has been made."""
    return {}


@pytest.fixture
def bundle(good: dict[str, bytes], request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "a.zip"
    if not good:
        lab: Lab = request.getfixturevalue("lab")
        write_bundle(path, lab.asked())
        good["bundle"] = path.read_bytes()
    path.write_bytes(good["bundle"])
    return path


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_in_one_line_and_nothing_is_written(
    attack: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = ATTACKS[attack]
    change(bundle)
    before = content(tmp_path)
    monkeypatch.setattr("sys.argv", ["bench.py", "merge", str(bundle), "--store", str(tmp_path / "store")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert message in shown and shown.count("\n") == 1 and shown.startswith(f"error: {bundle}")
    assert content(tmp_path) == before and not (tmp_path / "store").exists()


@pytest.mark.parametrize("folder", ["splits", "data"])
def test_ids_and_files_must_have_the_hash_that_names_them(folder: str, bundle: Path, tmp_path: Path) -> None:
    found = members(bundle)
    manifest, change = manifest_of(found), {"splits": b'"train0', "data": b'"val0'}[folder]
    for place, (info, data) in enumerate(found):
        if info.filename.startswith(f"{folder}/"):
            found[place] = info, data.replace(change, change + b"9", 1)
            manifest["files"][info.filename] = entry(found[place][1])
    write(bundle, found, manifest)
    with pytest.raises(BenchError, match=rf"{folder}/\w+\.json: .* don't have this hash"):
        merge(bundle, tmp_path / "store")


def test_a_forged_id_is_found_where_its_hash_was_forged_too(bundle: Path, tmp_path: Path) -> None:
    """Identity, id and folder fit each other; only the spec, from which a cell is run, says otherwise."""
    found = members(bundle)
    manifest = manifest_of(found)
    old = next(iter(manifest["runs"]))
    cell = json.loads(next(data for info, data in found if info.filename == f"runs/{old}/cell.json"))
    cell["identity"]["optimizer"]["lr"] = 0.9
    digest = hashlib.sha256(canonical(cell["identity"]).encode()).hexdigest()[:10]
    new = cell["id"] = f"{cell['slug']}-{digest}"
    text = json.dumps(manifest).replace(old, new)
    changed: Members = []
    for info, data in found:
        if info.filename == f"runs/{old}/cell.json":
            data = json.dumps(cell).encode()
        info.filename = info.filename.replace(old, new)
        changed.append((info, data.replace(old.encode(), new.encode())))
    manifest = json.loads(text)
    manifest["files"] = {info.filename: entry(data) for info, data in changed if info.filename != "manifest.json"}
    write(bundle, changed, manifest)
    with pytest.raises(BenchError, match=r"its spec isn't what identifies it: optimizer\.lr 0\.9, now 0\.05"):
        merge(bundle, tmp_path / "store")


def test_a_run_of_other_code_is_merged_with_a_note(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.spec.cell.NUMERICS", 99)
    merged = merge(bundle, tmp_path / "store")
    assert len(merged.new) == 3
    assert merged.notes == [
        f"made by another version of the code, so that this one's grids count it as stale (3 runs, {merged.new[0]} among "
        "them)"
    ]


def runs(store: Path) -> dict[str, bytes]:
    return {n: data for n, data in content(store).items() if n[0] != "." and not n.endswith("origin.json")}


def test_any_flipped_byte_is_refused_or_harmless(bundle: Path, tmp_path: Path) -> None:
    whole, random_, refused = bundle.read_bytes(), random.Random(3), 0
    merge(bundle, tmp_path / "good")
    wanted = runs(tmp_path / "good")
    for trial in range(40):
        data = bytearray(whole)
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        bundle.write_bytes(data)
        store = tmp_path / f"store{trial}"
        try:
            merge(bundle, store)
        except BenchError as error:
            assert "\n" not in str(error) and not store.exists()
            refused += 1
        else:  # a byte that nobody reads, such as a time
            assert runs(store) == wanted
    assert refused > 30
