"""The frame of a grid's runs: every state, damaged files, and a cache that reads again only what has changed."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report import cache, frame, records
from bench.report import rows as run_rows
from bench.store.run import Run
from tests.bench.report.conftest import CLASSES, Store


def rows(store: Store) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.load(store.path, store.cells).to_dict("records")  # type: ignore[assignment]
    return found


def test_a_row_per_planned_cell_in_grid_order(store: Store) -> None:
    store.done(store.plan("b", "20", 0), 50.25, best=51.5)
    store.plan("a", "20", 1, **{"schedule.lr": "0.01"})
    loaded = frame.load(store.path, store.cells)
    assert loaded["method"].tolist() == ["b", "a"]
    assert loaded["seed"].tolist() == [0, 1]
    assert loaded["schedule.lr"].tolist() == ["", "0.01"]
    assert loaded["state"].tolist() == ["done", "pending"]
    done, pending = rows(store)
    assert [done[k] for k in ("miou_last", "miou_best", "step_best", "labelled_images")] == [50.25, 51.5, 300, 20]
    assert json.loads(done["iou_last"]) == [50.0, 40.0, None]
    assert json.loads(done["classes"]) == CLASSES
    assert [done[k] for k in ("seconds", "peak_rss_bytes", "device")] == [65.2, 1e9, "cpu"]
    assert math.isnan(pending["miou_last"])
    assert records.axes(store.cells) == ["dataset", "network", "method", "protocol", "labels", "seed", "schedule.lr"]


def test_a_store_that_is_not_there_is_all_pending(store: Store) -> None:
    store.plan("a", "20", 0)
    assert frame.load(store.path / "nowhere", store.cells)["state"].tolist() == ["pending"]
    assert not (store.path / "nowhere").exists() or not list((store.path / "nowhere").glob("run*"))


@pytest.mark.parametrize("state", [s for s in run_rows.STATES if s not in ("done", "running")])
def test_every_state_is_kept_with_its_reason(store: Store, state: str) -> None:
    store.state(store.plan("a", "20", 0), state, step=7, reason="why\nnot\x1b[31m")
    row = rows(store)[0]
    assert (row["state"], row["step"], row["reason"]) == (state, 7, "why not[31m")


def test_running_is_believed_only_while_a_process_holds_the_run(store: Store) -> None:
    run = store.plan("a", "20", 0)
    store.state(run, "running", step=100)
    with Run(run).claim():
        assert frame.load(store.path, store.cells)["state"].tolist() == ["running"]
    gone = rows(store)[0]
    assert gone["state"] == "preempted"
    assert "process is gone" in gone["reason"]


def test_planned_iterations_win_over_recorded_ones(store: Store) -> None:
    store.state(store.plan("a", "20", 0), "preempted", step=100)
    assert frame.load(store.path, store.cells)["iterations"].tolist() == [400]
    store.change(0, iterations=1000)
    assert frame.load(store.path, store.cells)["iterations"].tolist() == [1000]


def test_a_result_makes_a_run_done_whatever_its_state_says(store: Store) -> None:
    run = store.plan("a", "20", 0)
    store.done(run, 50.0)
    store.state(run, "preempted", reason="SIGTERM")
    assert [rows(store)[0][k] for k in ("state", "reason")] == ["done", ""]
    (run / "result.json").unlink()
    store.state(run, "done")
    row = rows(store)[0]
    assert row["state"] == "failed"
    assert row["reason"].startswith("result.json is missing although state.json says done")


def _last(**change: Any) -> dict[str, Any]:
    return {"last": {"step": 1, "miou": 50.0, "pixel_accuracy": 80.0, "iou": [1.0, 2.0, 3.0], **change}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"last": None}, "last: Input should be a valid dictionary"),
        (_last(miou="50"), "last.miou: Input should be a valid number"),
        (_last(miou=True), "last.miou: Input should be a valid number"),
        (_last(miou=math.nan), "NaN is no number"),
        (_last(miou=531.0), "last.miou: Input should be less than or equal to 100"),
        (_last(iou=[1.0]), "last: 1 IoUs of 3 classes"),
        (_last(iou=[1.0, 2.0, "x"]), "last.iou.2: Input should be a valid number"),
        ({"classes": "road"}, "classes: Input should be a valid list"),
        ({"evaluation": 5}, "evaluation: Input should be a valid string"),
        ({"split_sha256": None}, "split_sha256: Input should be a valid string"),
        ({"cell_id": "other"}, "belongs to another run, other"),
        ({"labelled_images": 10**400}, "labelled_images: "),
    ],
)
def test_a_result_that_can_not_be_is_damage_that_names_the_file(store: Store, change: Any, why: str) -> None:
    run = store.plan("a", "20", 0)
    store.done(run, 50.0, **change)
    row = rows(store)[0]
    assert row["state"] == "damaged"
    assert row["reason"].startswith(f"{run / 'result.json'}: damaged (")
    assert why in row["reason"]
    assert math.isnan(row["miou_last"])


@pytest.mark.parametrize("file", run_rows.FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"state": "flying"}'])
def test_a_damaged_file_never_raises(store: Store, file: str, content: bytes) -> None:
    run, whole = store.plan("a", "20", 0), store.plan("a", "20", 1)
    store.done(run, 50.0)
    store.done(whole, 60.0)
    (run / file).write_bytes(content)
    damaged, sound = rows(store)
    if file == "result.json":
        assert damaged["state"] == "damaged"
        assert file in damaged["reason"]
        assert math.isnan(damaged["miou_last"])
    else:  # what it says is unknown, and no more than that
        assert (damaged["state"], damaged["miou_last"], damaged["reason"]) == ("done", 50.0, "")
        assert math.isnan(damaged["seconds" if file == "cost.json" else "attempt"])
    assert sound["miou_last"] == 60.0


def test_a_folder_in_place_of_a_file_never_raises(store: Store) -> None:
    (store.plan("a", "20", 0) / "state.json").mkdir(parents=True)
    assert frame.load(store.path, store.cells)["state"].tolist() == ["pending"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["last", "miou", "state"]), inner),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(run_rows.FILES), JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_any_content_gives_a_row_that_arrow_takes(file: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Store(Path(folder))
        run = made.plan("a", "20", 0)
        made.done(run, 50.0)
        (run / file).write_bytes(content)
        loaded = frame.load(made.path, made.cells)
        assert loaded["state"].tolist()[0] in run_rows.STATES
        assert frame.load(made.path, made.cells).equals(loaded)


def test_a_warm_cache_reads_only_what_has_changed(store: Store, reads: list[str]) -> None:
    for seed in range(5):
        store.done(store.plan("a", "20", seed), 50.0 + seed)
    store.plan("a", "20", 9)
    cold = frame.load(store.path, store.cells)
    assert reads == [f"run000{i}" for i in range(5)]
    reads.clear()
    assert frame.load(store.path, store.cells).equals(cold)
    assert reads == []
    store.done(store.path / "run0003", 11.0)
    store.state(store.path / "run0005", "queued")
    warm = frame.load(store.path, store.cells)
    assert reads == ["run0003", "run0005"]
    assert warm["miou_last"].tolist()[:5] == [50.0, 51.0, 52.0, 11.0, 54.0]
    assert warm["state"].tolist()[5] == "queued"


def test_a_change_of_the_same_size_and_time_is_seen_by_its_inode(store: Store, reads: list[str]) -> None:
    run = store.plan("a", "20", 0)
    store.state(run, "failed", reason="one")
    before = (run / "state.json").stat()
    frame.load(store.path, store.cells)
    other = run / "new"
    other.write_text((run / "state.json").read_text().replace("one", "two"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(run / "state.json")
    assert frame.load(store.path, store.cells)["reason"].tolist() == ["two"]
    assert reads == ["run0000", "run0000"]


def test_runs_that_vanish_are_pending_again(store: Store) -> None:
    run = store.plan("a", "20", 0)
    store.done(run, 50.0)
    frame.load(store.path, store.cells)
    for path in run.iterdir():
        path.unlink()
    run.rmdir()
    assert frame.load(store.path, store.cells)["state"].tolist() == ["pending"]


def test_grids_share_the_cache(store: Store, reads: list[str]) -> None:
    for seed in range(4):
        store.done(store.plan("a", "20", seed), 50.0 + seed)
    one, two = store.cells[:2], store.cells[1:]
    frame.load(store.path, one)
    frame.load(store.path, two)
    reads.clear()
    assert frame.load(store.path, one[::-1])["miou_last"].tolist() == [51.0, 50.0]
    assert frame.load(store.path, two)["miou_last"].tolist() == [51.0, 52.0, 53.0]
    assert reads == []


def test_refresh_reads_everything(store: Store, reads: list[str]) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    frame.load(store.path, store.cells)
    frame.load(store.path, store.cells, refresh=True)
    assert reads == ["run0000", "run0000"]


@pytest.mark.parametrize("damage", [b"", b"PAR1 rubbish PAR1", b"PAR1"])
def test_a_damaged_cache_is_built_again(store: Store, damage: bytes, reads: list[str]) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    cold = frame.load(store.path, store.cells)
    (store.path / cache.CACHE).write_bytes(damage)
    assert frame.load(store.path, store.cells).equals(cold)
    reads.clear()
    assert frame.load(store.path, store.cells).equals(cold)
    assert reads == []


def test_a_cache_of_another_version_is_built_again(
    store: Store, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.done(store.plan("a", "20", 0), 50.0)
    frame.load(store.path, store.cells)
    monkeypatch.setattr(cache, "CACHE_FORMAT", b"next")
    frame.load(store.path, store.cells)
    assert reads == ["run0000", "run0000"]


def test_a_store_that_can_not_be_written_can_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(cache, "write_atomically", refuse)
    store.done(store.plan("a", "20", 0), 50.0)
    assert frame.load(store.path, store.cells)["miou_last"].tolist() == [50.0]


def test_no_cells_give_an_empty_frame(store: Store) -> None:
    assert frame.load(store.path, []).empty
