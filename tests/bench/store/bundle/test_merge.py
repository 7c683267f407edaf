"""A bundle of one store merged into another: what travels, what stays, and what the other store has afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.files import read_json
from bench.plan.request import Request
from bench.plan.summary import find_summary
from bench.report import records, tables
from bench.store.bundle.merge import merge
from bench.store.bundle.write import write_bundle
from bench.store.run import Run, State
from bench.store.status import grid_status
from tests.bench.store.bundle.conftest import SECRET, Lab, make_lab


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, but locks and caches."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if not name.startswith((".merge-lock", ".cache"))}


def test_a_bundle_holds_what_ended_and_nothing_of_the_store_alone(lab: Lab, tmp_path: Path) -> None:
    (lab.runs[0].path / "link").symlink_to("/etc/hostname")
    written = write_bundle(tmp_path / "a.zip", lab.asked())
    ids = [run.id for run in lab.runs]
    assert written.runs == {ids[0]: "done", ids[1]: "done", ids[2]: "diverged"}
    assert written.open == {ids[3]: "running"}
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
        of_first = {name.removeprefix(f"runs/{ids[0]}/") for name in names if name.startswith(f"runs/{ids[0]}/")}
        for name, entry in manifest["files"].items():
            data = archive.read(name)
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["size"])
        state = json.loads(archive.read(f"runs/{ids[2]}/state.json"))
    assert names[-1] == "manifest.json" and len(names) == written.files == len(manifest["files"]) + 1
    files = (
        "attempts.jsonl cell.json confusion-last.npz cost.json evaluations/test.json log.txt metrics.jsonl result.json"
    )
    assert of_first == {*files.split(), "state.json"}
    assert not [name for name in names if name.endswith(SECRET) or ids[3] in name]
    assert len([name for name in names if name.startswith("splits/")]) == 4 - 1
    assert {key: state.get(key) for key in ("state", "reason", "pid", "submission")} == {
        **{"state": "diverged", "reason": "the loss is nan"},
        **{"pid": None, "submission": None},
    }


def test_equal_runs_make_equal_bytes(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in ("a", "b"):
        write_bundle(tmp_path / f"{name}.zip", lab.asked())
        os.utime(lab.runs[0].result, (1, 1))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert read_manifest(tmp_path / "a.zip")["created"] == "2023-11-14T22:13:20Z"


def read_manifest(path: Path) -> dict[str, object]:
    with zipfile.ZipFile(path) as archive:
        found: dict[str, object] = json.loads(archive.read("manifest.json"))
        return found


@pytest.mark.parametrize(("weights", "names"), [("last", {"last"}), ("best", {"best"}), ("all", {"last", "best"})])
def test_weights_go_in_where_they_are_asked_for(weights: str, names: set[str], lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked(weights=weights))
    merge(tmp_path / "a.zip", tmp_path / "other")
    there = {path.name for path in (tmp_path / "other" / lab.runs[0].id).glob("weights-*")}
    assert there == {f"weights-{name}.pt" for name in names}


def test_a_bundle_replaces_no_file_unless_told(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_text("mine")
    with pytest.raises(BenchError, match="--force"):
        write_bundle(path, lab.asked())
    assert path.read_text() == "mine"
    lab.runs[0].cell.unlink()
    with pytest.raises(BenchError, match=r"its cell\.json or result\.json is missing"):
        write_bundle(path, lab.asked(), force=True)
    assert path.read_text() == "mine" and not list(tmp_path.glob(".a.zip*"))


def test_two_labs_make_one_table(lab: Lab, tmp_path: Path) -> None:
    mine = make_lab(tmp_path / "mine", lab.grid)
    mine.done(3, 48.0)
    before = content(mine.store)
    write_bundle(tmp_path / "a.zip", lab.asked())
    merged = merge(tmp_path / "a.zip", mine.store)
    ids = [run.id for run in lab.runs]
    assert (merged.new, merged.same, merged.kept, merged.notes) == (ids[:3], [], {}, [])
    after = content(mine.store)
    assert {name: after[name] for name in before} == before  # nothing of mine was touched
    for run in lab.runs[:3]:
        theirs = {name: data for name, data in content(run.path).items() if not name.endswith(SECRET)}
        for name in {*theirs} - {"state.json", "weights-last.pt", "weights-best.pt"}:
            assert after[f"{run.id}/{name}"] == theirs[name]
    status = grid_status(mine.store, find_summary(Request(str(lab.grid), (), (), mine.store)))
    assert [row["state"] for row in status["cells"]] == ["done", "done", "diverged", "done"]
    assert not any(row.get("submission") or row.get("gone") for row in status["cells"][:3])
    table = tables.build(records.load(mine.store, mine.summary.cells), mine.summary)
    stat = table.sections[0].rows[0].cells[0].stats["last"]
    assert (stat.n, stat.mean, stat.sd) == (3, 44.0, 4.0)  # 40, 44, 48
    origin = read_json(mine.store / ids[0] / "origin.json")
    assert origin["bundle_sha256"] == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert origin["host"] == merged.manifest.host and origin["created"] == merged.manifest.created
    assert merged.grid is not None and merged.grid.read_bytes() == lab.grid.read_bytes()
    assert not [p for p in mine.store.glob(".merge-*") if p.is_dir()]


def test_merging_again_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked())
    merge(tmp_path / "a.zip", tmp_path / "other")
    before = content(tmp_path / "other")
    again = merge(tmp_path / "a.zip", tmp_path / "other")
    ids = [run.id for run in lab.runs]
    assert (again.new, again.same) == ([], ids[:2])
    assert again.kept.keys() == {ids[2]} and again.kept[ids[2]].startswith("diverged here; remove ")
    assert content(tmp_path / "other") == before


def test_a_bundle_of_a_merged_store_says_where_its_runs_came_from(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked())
    merge(tmp_path / "a.zip", tmp_path / "two")
    write_bundle(tmp_path / "b.zip", Lab(tmp_path / "two", lab.grid, lab.plan, lab.summary).asked())
    merge(tmp_path / "b.zip", tmp_path / "three")
    origin = read_json(tmp_path / "three" / lab.runs[0].id / "origin.json")
    assert (origin["bundle"], origin["earlier"]["bundle"]) == ("b.zip", "a.zip")


def test_another_result_is_refused_as_a_whole_unless_mine_is_to_be_kept(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked())
    mine = make_lab(tmp_path / "mine", lab.grid)
    run = mine.done(0, 41.5)
    before = content(mine.store)
    with pytest.raises(BenchError, match=r"mIoU 41\.5000 here, 40\.0000 in the bundle.*--keep-existing") as error:
        merge(tmp_path / "a.zip", mine.store)
    assert run.id in str(error.value) and content(mine.store) == before
    merged = merge(tmp_path / "a.zip", mine.store, keep_existing=True)
    assert merged.kept == {run.id: "mIoU 41.5000 here, 40.0000 in the bundle"}
    assert read_json(run.result)["last"]["miou"] == 41.5 and len(merged.new) == 2
    assert run.id not in (p.parent.name for p in mine.store.glob("*/origin.json"))


def test_runs_that_the_store_has_otherwise_stay_as_they_are(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked())
    mine = make_lab(tmp_path / "mine", lab.grid)
    mine.state(0, State.PREEMPTED)
    mine.done(2, 50.0)
    before = content(mine.store)
    with mine.runs[1].claim():
        merged = merge(tmp_path / "a.zip", mine.store)
    ids = [run.id for run in lab.runs]
    assert merged.kept == {
        ids[0]: f"preempted here; remove {mine.store / ids[0]} to take the bundle's, which is done",
        ids[1]: "a process works on it here",
        ids[2]: "done here, diverged in the bundle",
    }
    assert {n: d for n, d in content(mine.store).items() if ids[1] not in n} == before


def test_what_a_killed_merge_left_is_removed_and_another_one_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked())
    left = tmp_path / "other" / ".merge-dead" / "runs"
    left.mkdir(parents=True)
    import fcntl

    with (tmp_path / "other" / ".merge-lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BenchError, match="another merge"):
            merge(tmp_path / "a.zip", tmp_path / "other")
        assert left.is_dir() and len([*(tmp_path / "other").iterdir()]) == 2
    merge(tmp_path / "a.zip", tmp_path / "other")
    assert not left.exists()


def test_a_merge_that_fails_halfway_leaves_whole_runs_or_none(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked())
    store, real, moved = tmp_path / "other", Path.rename, list[Path]()

    def rename(self: Path, target: Path) -> Path:
        if self.parent.name == "runs" and len(moved) == 1:
            raise KeyboardInterrupt
        moved.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        merge(tmp_path / "a.zip", store)
    monkeypatch.undo()
    (only,) = [path for path in store.iterdir() if not path.name.startswith(".")]
    assert {"cell.json", "result.json", "origin.json", "state.json"} <= {p.name for p in only.iterdir()}
    assert len(merge(tmp_path / "a.zip", store).new) == 2
    assert Run(only).result.exists()


@pytest.mark.parametrize(("name", "kind"), [("zero", "a device"), ("fifo", "a FIFO"), ("folder", "a folder")])
def test_what_is_no_file_is_never_read(tmp_path: Path, name: str, kind: str) -> None:
    """Found by `make chaos`: a device was read without end."""
    path = Path("/dev/zero") if name == "zero" else tmp_path / name
    if name == "fifo":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    with pytest.raises(BenchError, match=f"{path}: can't be read \\({kind}\\)"):
        merge(path, tmp_path / "store")
