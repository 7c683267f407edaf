"""Trackers, read back with their own library; and that none of them can harm a run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.errors import BenchError
from bench.files import REPOSITORY, read_jsonl
from bench.store.run import Run
from bench.track import tracker
from bench.track.tracker import Background, Record, begin, values_of


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
