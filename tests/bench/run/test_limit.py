"""`run --for`: what is begun within a time, and what becomes of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.errors import BenchError
from bench.plan.cells import resolve_grid
from bench.plan.request import Request
from bench.run import limit as limits
from bench.run.limit import TimeLimit, read_time
from bench.spec.cell import Cell
from bench.store.job import Job
from bench.store.run import Run, State
from bench.store.throughput import Throughput, keep
from tests.conftest import GRID
from tests.typed import typed


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("1h30m", 5400), ("2h", 7200), (" 1m5s ", 65)])
def test_times(text: str, seconds: float) -> None:
    assert read_time(text) == seconds


@pytest.mark.parametrize("text", ["", "9", "m", "0s", "-3m", "9 min", "1.5h", "5m1h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BenchError, match="expected a time such as 90s, 9m or 1h30m"):
        read_time(text)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def cells(tmp_path: Path) -> dict[str, Cell]:
    """Two methods of 40 steps, evaluated every 15: at 15, 30 and 40."""
    content = yaml.safe_load(GRID)
    content["recipe"]["schedule"]["iterations"] = 40
    content["recipe"]["evaluation"] = {"every": 15}
    content["axes"] = {"method": ["supervised", "classmix"], "protocol": [{"few_labels": 4}], "seed": [0]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    plan = resolve_grid(Request(str(tmp_path / "grid.yaml"), store=tmp_path))
    return {planned.cell.id: planned.cell for planned in plan.cells}


def test_a_cell_is_begun_if_it_can_end(tmp_path: Path, clock: Clock) -> None:
    known = cells(tmp_path)
    (first, cell), (second, _) = known.items()
    limit = TimeLimit(100, tmp_path, known)
    job, other = Job(str(tmp_path), first), Job(str(tmp_path), second)
    assert limit.lets(job) and limit.lets(other)  # nothing is known
    keep(tmp_path, cell, Throughput(2.0, 4.0, "here", "test"))  # 40 steps and 3 evaluations: 92 s
    assert limit.lets(job)
    assert limit.lets(other)  # not measured itself, so as slow as the slowest
    clock.now += 8.1
    assert not limit.lets(job) and not limit.lets(other)
    assert limit.refused == {first, second}
    assert limit.lets(Job(str(tmp_path), first, until=30))  # 30 steps and 2 evaluations: 68 s
    (tmp_path / first).mkdir()
    Run(tmp_path / first).write_state(State.PREEMPTED, step=20)  # 20 steps and 2 evaluations are left: 48 s
    clock.now += 43
    assert limit.lets(job)
    clock.now += 1
    assert not limit.lets(job)
    clock.now += 48
    assert limit.over


def test_a_run_stops_when_the_time_is_over(tmp_path: Path) -> None:
    content = yaml.safe_load(GRID)
    content["recipe"]["schedule"]["iterations"] = 100_000
    content["axes"]["seed"] = [0, 1, 2]
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    more = ("--for", "2s", "--set", "resources.threads=1")
    done = typed("run", str(tmp_path / "grid.yaml"), "--store", str(tmp_path / "store"), *more)
    assert done.returncode == 75, done.stderr
    assert "the time is over: " in done.stderr and "the same command goes on from there" in done.stderr
    assert "Traceback" not in done.stderr
