"""Trackers, read back with their own library; and that none of them can harm a run."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.errors import BenchError
from bench.files import REPOSITORY, read_jsonl
from bench.store.run import Run
from bench.track import tracker
from bench.track.tracker import Background, Record, begin, values_of

REQUIRED = os.environ.get("BENCH_REQUIRE_TRACKERS") == "1"


def read(folder: Path) -> dict[str, dict[int, float]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_a_record_goes_on_where_its_run_went_on(tmp_path: Path) -> None:
    first = begin("tensorboard", Record("a", {"optimizer.lr": 0.1}, tmp_path))
    for step in range(1, 6):
        first.scalars(step, {"losses/ce": step})
    first.close()
    second = begin("tensorboard", Record("a", {}, tmp_path, step=3))  # killed at 5, its checkpoint was of 3
    for step in range(4, 8):
        second.scalars(step, {"losses/ce": 10 * step})
    second.close()
    assert read(tmp_path) == {"losses/ce": {1: 1, 2: 2, 3: 3, 4: 40, 5: 50, 6: 60, 7: 70}}
    third = begin("tensorboard", Record("a", {}, tmp_path))
    third.scalars(1, {"losses/ce": 9})
    third.close()
    assert read(tmp_path) == {"losses/ce": {1: 9}}


def of_mlflow(folder: Path) -> dict[str, dict[int, float]]:
    """Return what MLflow's own client reads of the one run of an experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.parent}/mlflow.db")
    experiment = client.get_experiment_by_name(folder.parent.name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["semisegbench.run"] == folder.name and run.info.status == "FINISHED"
    assert run.data.params == {"optimizer.lr": "0.1"}
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: {metric.step: metric.value for metric in found} for name, found in histories.items()}


def wandb_records(path: Path) -> Iterator[Any]:
    """Yield the records of a file of wandb: LevelDB's log format after a header of 7 bytes, protobuf within."""
    from wandb.proto.wandb_internal_pb2 import Record as Written

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # the end of a block that no header fits into
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<4xHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            written = Written()
            written.ParseFromString(parts)
            yield written
            parts = b""


def of_wandb(folder: Path) -> dict[str, dict[int, float]]:
    """Return what is in the files of wandb, in the order in which ``wandb sync`` would send them."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(path):
            if record.WhichOneof("record_type") == "run":
                assert (record.run.run_id, record.run.project) == (folder.name, folder.parent.name)
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for name in items.keys() - {"step"}:
                if not name.startswith("_"):
                    found.setdefault(name, {})[items["step"]] = items[name]
    return found


def of_trackio(folder: Path) -> dict[str, dict[int, float]]:
    """Return what Trackio's own storage reads of the one run of a project."""
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = Api().runs(folder.parent.name)
    assert run.name == folder.name and run.config.items() >= {"name": "a", "optimizer.lr": 0.1}.items()
    found: dict[str, dict[int, float]] = {}
    for row in SQLiteStorage.get_logs(folder.parent.name, run.name):
        for name in row.keys() - {"step", "timestamp", "id"}:
            assert row["step"] not in found.setdefault(name, {})
            found[name][row["step"]] = row[name]
    return found


READERS = {"mlflow": of_mlflow, "wandb": of_wandb, "trackio": of_trackio}


@pytest.mark.parametrize("name", READERS)
def test_records_of_other_trackers_go_on(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("wandb", "trackio") and not REQUIRED:  # extras that aren't in `dev`; `make trackers` has them
        pytest.importorskip(name)
    read_back, folder, config = READERS[name], tmp_path / "grid" / "run-1", {"optimizer.lr": 0.1}
    monkeypatch.setenv("TRACKIO_DIR", str(folder.parent))  # else the import leaves it behind
    for first, last in ((0, 5), (3, 7)):  # killed at 5, its checkpoint was of 3; what follows is the same, bit for bit
        told = begin(name, Record("a", config, folder, step=first))
        for step in range(first + 1, last + 1):
            told.scalars(step, {"losses/ce": step / 4, "lr": 0.5})
        told.close()
    steps = range(1, 8)
    assert read_back(folder) == {"losses/ce": {s: s / 4 for s in steps}, "lr": dict.fromkeys(steps, 0.5)}
    anew = begin(name, Record("a", config, folder))
    anew.scalars(1, {"losses/ce": 9.0})
    anew.close()
    assert read_back(folder) == {"losses/ce": {1: 9.0}}


def test_lines_become_values() -> None:
    row = {"step": 8, "lr": 0.1, "losses": {"ce": 1.0}, "logged": {"share": 0.5}}
    assert values_of(row, 8) == {"losses/ce": 1.0, "logged/share": 0.5, "lr": 0.1}
    evaluation = {"step": 8, "eval": {"miou": 40.0, "pixel_accuracy": 80.0, "iou": [40.0]}}
    assert values_of(evaluation, 9) == {"eval/miou": 40.0, "eval/pixel_accuracy": 80.0}
    assert values_of(evaluation, 8)["final/miou"] == 40.0
    assert values_of({"step": 8, "seconds_per_step": 0.5, "images_per_s": 8}, 9) == {"speed/it_per_s": 2.0}


def test_a_run_is_told_while_it_trains_and_the_same_afterwards(grid_file: Path, tmp_path: Path) -> None:
    store, bench = tmp_path / "store", [sys.executable, str(REPOSITORY / "bench.py")]
    words = ["run", str(grid_file), "--store", str(store), "--track", "tensorboard", "--set", "resources.log_every=2"]
    done = subprocess.run([*bench, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = Run(next(store.glob("*/result.json")).parent)
    (folder,) = store.glob(f".track/tensorboard/small/{run.id}")
    live, rows = read(folder), list(read_jsonl(run.metrics))
    for name in rows[0]["losses"]:
        told = {row["step"]: row["losses"][name] for row in rows if "losses" in row}
        assert live[f"losses/{name}"] == pytest.approx(told, rel=1e-6)
    assert live["eval/miou"] == pytest.approx({row["step"]: row["eval"]["miou"] for row in rows if "eval" in row})
    assert set(live["final/miou"]) == {8}
    again = subprocess.run(
        [*bench, "track", str(grid_file), "--store", str(store), "--to", "tensorboard"],
        capture_output=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert read(folder) == live


class Broken:
    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        time.sleep(self.seconds)
        if not self.seconds:
            raise RuntimeError("no server")

    def close(self) -> None:
        raise RuntimeError("no server")


@pytest.mark.parametrize(("seconds", "why"), [(0.0, "RuntimeError: no server"), (30.0, "more slowly")])
def test_a_tracker_that_fails_or_is_slow_is_dropped_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, seconds: float, why: str
) -> None:
    made: Any = Broken(seconds)
    monkeypatch.setattr(tracker, "begin", lambda *_: made)
    if seconds:
        monkeypatch.setattr(tracker, "WAITING", 20)
    background = Background("tensorboard", Record("a", {}, tmp_path))
    start = time.monotonic()
    for step in range(100):
        background.log({"step": step, "losses": {"ce": 1.0}})
    background.close(seconds=0.5)
    assert time.monotonic() - start < 10
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tracker tensorboard: ") and why in line


def test_trackers_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="unknown tracker 'tensorbord'"):
        begin("tensorbord", Record("a", {}, tmp_path))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BenchError, match=r"pip install '\.\[tensorboard\]'"):
        begin("tensorboard", Record("a", {}, tmp_path))
