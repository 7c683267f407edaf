from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from bench.files import append_jsonl, read_json, read_jsonl, remove_leftovers, write_atomically, write_json
from bench.store.liveness import current_state
from bench.store.run import Run, State


def test_a_write_that_fails_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(file: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})


def _write_forever(path: Path) -> None:
    for i in range(10**9):
        write_json(path, {"i": i, "filler": "x" * 200_000})


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        process = context.Process(target=_write_forever, args=(path,))
        process.start()
        while not path.exists():
            time.sleep(0.005)
        time.sleep(0.03)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert len(read_json(path)["filler"]) == 200_000
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_unfinished_last_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append_jsonl(path, {"step": 1})
    append_jsonl(path, {"step": 2})
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert [row["step"] for row in read_jsonl(path)] == [1, 2]


def _claim_and_hold(run: Run, held: float) -> None:
    with run.claim() as mine:
        assert mine
        run.write_state(State.RUNNING, step=7, host=os.uname().nodename)
        time.sleep(held)


def test_two_workers_on_one_cell_exactly_one_gets_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "cell")
    process = multiprocessing.get_context("fork").Process(target=_claim_and_hold, args=(run, 30))
    process.start()
    while not run.state.exists():
        time.sleep(0.01)
    with run.claim() as mine:
        assert not mine
    assert run.held()
    assert current_state(run)["state"] == "running"
    process.kill()
    process.join()
    # the lock died with its holder: the run counts as preempted, and can be claimed
    assert not run.held()
    state = current_state(run)
    assert state["state"] == "preempted"
    assert "gone since step 7" in str(state["reason"])
    with run.claim() as mine:
        assert mine


def test_state_keeps_facts_but_not_the_reason(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.read_state() == {"state": "pending"}
    run.write_state(State.FAILED, attempt=2, reason="it broke")
    run.write_state(State.RUNNING, step=5)
    state = run.read_state()
    assert (state["state"], state["attempt"], state["step"], state["reason"]) == ("running", 2, 5, None)


def test_a_damaged_state_is_as_if_there_were_none_and_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.state.write_text("{")
    state = current_state(run)
    assert state["state"] == "pending"
    (line,) = state["damaged"]
    assert line.startswith("state.json: not JSON")
    with run.claim():
        assert current_state(run)["state"] == "running"


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"state": "nonsense"}', b"\0" * 40])
def test_a_damaged_state_is_named_to_who_looks_and_written_anew_by_who_works(tmp_path: Path, content: bytes) -> None:
    run = Run(tmp_path)
    run.state.write_bytes(content)
    with pytest.raises(ValueError):
        run.read_state()
    run.write_state(State.RUNNING, step=1)
    assert run.read_state()["step"] == 1


def test_attempts_are_counted(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert [run.record_attempt({"host": "a"}), run.record_attempt({"host": "b"})] == [1, 2]
    assert [row["host"] for row in read_jsonl(run.attempts)] == ["a", "b"]
