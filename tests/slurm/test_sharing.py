"""`--parallel N` is N cells at a time over all arrays and submissions of a grid."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.files import read_json, read_jsonl
from bench.store.run import Run
from slurm import records
from slurm.commands import SlurmJob
from slurm.records import Array, Submission
from slurm.sharing import Share, balance, deal, limit
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.fakes import fake_slurm
from tests.slurm.test_cluster import Grid


def shares(*counts: tuple[int, int]) -> list[Share]:
    made = Submission("s", "g", "", [], "here", {}, {})
    return [Share(made, Array("a", [], {}, 9), running, waiting) for running, waiting in counts]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6), st.integers(1, 12))
def test_a_limit_is_dealt_out_whole_and_never_exceeded(counts: list[tuple[int, int]], most: int) -> None:
    found = shares(*counts)
    deal(found, most)
    running = sum(share.running for share in found)
    planned = sum(max(share.running, min(share.allowed, share.running + share.waiting)) for share in found)
    assert planned <= max(most, running)
    wants = sum(share.running + share.waiting for share in found)
    assert planned >= min(most, wants) or running >= most or any(s.allowed < s.running for s in found)
    assert all(share.allowed >= 1 for share in found if share.running)  # a throttle of 0 would be none


@pytest.mark.parametrize(
    ("counts", "most", "allowed"),
    [
        ([(0, 9), (0, 9)], 10, [5, 5]),
        ([(0, 9), (0, 1), (0, 9)], 10, [5, 1, 4]),
        ([(0, 9), (0, 9), (0, 9)], 2, [1, 1, 0]),  # more arrays than cells at a time: one is held
        ([(10, 40), (0, 50)], 10, [5, 0]),  # a second submission gets what the first one leaves …
        ([(9, 40), (0, 50)], 10, [5, 1]),  # … as its cells end
        ([(5, 40), (5, 50)], 10, [5, 5]),
        ([(3, 0), (1, 9)], 10, [3, 7]),
    ],
)
def test_what_each_array_is_allowed(counts: list[tuple[int, int]], most: int, allowed: list[int]) -> None:
    found = shares(*counts)
    deal(found, most)
    assert [share.allowed for share in found] == allowed


def test_throttles_are_lowered_before_others_are_raised_and_a_profiles_hold_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm(tmp_path / "bin", monkeypatch, scontrol=f'echo "$*" >> {tmp_path}/asked')
    profile: dict[str, Any] = {"executor": "slurm", "parallel": 4}
    first = Array("a", list("abcdef"), profile, 6, "1", throttle=4)
    second = Array("b", list("ghij"), profile, 4, "2", held=True)
    kept = Array("c", ["k"], {**profile, "options": {"hold": True}}, 1, "3", held=True)
    made = Submission("s", "g", "", [first, second, kept], "here", {}, {})
    states = ["RUNNING"] * 3 + ["PENDING"] * 3
    jobs = {(f"1_{i}", "a"): SlurmJob(f"1_{i}", state, True) for i, state in enumerate(states)}
    jobs |= {(f"2_{i}", "b"): SlurmJob(f"2_{i}", "PENDING", True) for i in range(4)}
    jobs |= {("3", "c"): SlurmJob("3", "PENDING", True)}
    balance(tmp_path, [made], jobs, ended="1_0")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["update JobId=1 ArrayTaskThrottle=2", "update JobId=2 ArrayTaskThrottle=1", "release 2"]
    assert (first.throttle, second.throttle, second.held, kept.held) == (2, 1, False, True)
    assert records.read_submission(tmp_path, "s") == made
    balance(tmp_path, [made], jobs, ended="1_0")
    assert (tmp_path / "asked").read_text().splitlines() == asked  # nothing to change


def test_the_latest_word_counts() -> None:
    def made(*parallel: int | None) -> Submission:
        arrays = [Array("a", [], {"parallel": number}, 1) for number in parallel]
        return Submission("s", "g", "", arrays, "here", {}, {})

    assert limit([]) is limit([made(None)]) is None
    assert limit([made(10, 10), made(None), made(4)]) == 4
    assert limit([made(4), made(None)]) == 4


def at_once(spans: list[tuple[float, float]]) -> int:
    """Return the most spans that overlap."""
    times = sorted(itertools.chain(*(((start, 1), (end, -1)) for start, end in spans)), key=lambda t: (t[0], t[1]))
    return max(itertools.accumulate(change for _, change in times))


@pytest.mark.slurm
def test_a_limit_holds_over_arrays_and_submissions(cluster: Cluster, tmp_path: Path) -> None:
    """Three arrays in two submissions, two cells at a time; in the end all are done."""
    override = [{"when": {"seed": [1, 3]}, "set": {"profile.memory": "901M"}}]
    method = {"name": "bad", "how": "not", "pause": 2.0}  # long enough for a busy machine
    axes = {"method": [method], "protocol": ["full"], "seed": list(range(6))}
    grid = Grid(cluster, tmp_path, axes, overrides=override)
    assert "at most 2 cells of this grid" in grid("submit", "--parallel", "2", "--only", "seed=[0, 1, 2, 3]")
    grid("submit", "--parallel", "2", "--only", "seed=[4, 5]")
    assert "waits: other cells of the grid (--parallel)" in grid("status")
    wait_until(lambda: set(grid.states()) == {"done"}, 400, "the jobs themselves have released what was held")
    runs = [Run(grid.store / row["id"]) for row in grid.rows()]
    assert all(len(list(read_jsonl(run.attempts))) == 1 for run in runs)
    assert at_once([(begin(run), read_json(run.state)["time"]) for run in runs]) <= 2


def begin(run: Run) -> float:
    """Return when a run's only attempt began, in seconds since the epoch, rounded up."""
    return time.mktime(time.strptime(next(read_jsonl(run.attempts))["time"][:19], "%Y-%m-%dT%H:%M:%S")) + 1
