"""The number of threads of a grid's cells is decided once per store, whoever asks and however many run at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import machine
from bench.cli import grids
from bench.files import read_json, write_json
from bench.store.job import Job
from bench.store.run import Run, State
from bench.store.threads import threads_of, with_threads


def test_the_first_time_decides(tmp_path: Path) -> None:
    assert threads_of(tmp_path, "g", [], 0, otherwise=8) == 8
    assert threads_of(tmp_path, "g", [], 0, otherwise=2) == 8
    assert threads_of(tmp_path, "other", [], 0, otherwise=2) == 2
    assert read_json(tmp_path / ".grids" / "g.json") == {"threads": 8}
    assert [path.name for path in sorted((tmp_path / ".grids").iterdir())] == ["g.json", "other.json"]


def test_what_a_grid_asks_for_wins_and_what_it_asked_for_first_is_kept(tmp_path: Path) -> None:
    assert threads_of(tmp_path, "g", [], 3, otherwise=8) == 3
    assert threads_of(tmp_path, "g", [], 0, otherwise=8) == 3
    assert threads_of(tmp_path, "g", [], 5, otherwise=8) == 5
    assert threads_of(tmp_path, "g", [], 0, otherwise=8) == 3


def test_runs_of_an_earlier_version_have_decided(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    write_json(Run(tmp_path / "two").rounding, {"threads": 4, "compile": False})
    assert threads_of(tmp_path, "g", ["one", "two"], 0, otherwise=8) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", '{"threads": 0}', '{"threads": "2"}'])
def test_a_damaged_file_is_written_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".grids" / "g.json"
    path.parent.mkdir()
    path.write_text(content)
    assert threads_of(tmp_path, "g", [], 0, otherwise=8) == threads_of(tmp_path, "g", [], 0, otherwise=2) == 8


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", refuse)
    assert threads_of(tmp_path, "g", [], 0, otherwise=8) == threads_of(tmp_path, "g", [], 0, otherwise=2) == 8


def test_another_process_may_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".grids" / "g.json"

    def slow(mine: Path, content: object) -> None:
        write_json(mine, content)
        if not path.exists():
            write_json(path, {"threads": 2})

    monkeypatch.setattr("bench.store.threads.write_json", slow)
    assert threads_of(tmp_path, "g", [], 0, otherwise=8) == 2


def test_jobs_get_the_number_and_keep_the_rest(tmp_path: Path) -> None:
    jobs = [Job(str(tmp_path), name, {"toy": "/d"}, {"threads": 0, "cache_mb": 7}) for name in "ab"]
    made = with_threads(jobs, "g", "ab", 2)
    assert [job.resources for job in made] == [{"threads": 2, "cache_mb": 7}] * 2
    assert [(job.cell_id, job.data) for job in made] == [("a", {"toy": "/d"}), ("b", {"toy": "/d"})]
    assert with_threads([], "g", [], 2) == []


def test_the_number_of_workers_changes_nothing_and_too_many_threads_are_said(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers on four cores had two threads each, one worker four: another rounding, another mIoU."""
    given = list[list[int]]()

    def run_local(jobs: list[Job], workers: int, *_: object) -> dict[str, State]:
        given.append([workers, *(int(job.resources["threads"]) for job in jobs)])
        return {job.cell_id: State.DONE for job in jobs}

    monkeypatch.setattr("bench.cli.rounds.run_local", run_local)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores, workers, store in ((4, 1, "one"), (4, 2, "two"), (4, 2, "one"), (16, 1, "two")):
        monkeypatch.setattr(machine, "usable_cores", lambda cores=cores: cores)
        grids.run(str(grid_file), ["seed=[0, 1]"], [], tmp_path / store, workers=workers, as_json=True)
    assert given == [[1, 4, 4], [2, 4, 4], [2, 4, 4], [1, 4, 4]]
    said = capsys.readouterr().err
    assert said.count("2 workers × 4 threads on 4 cores: `resources.threads: 2` is faster") == 2


def test_the_default_is_all_cores_and_beside_gpus_the_share_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 16)
    monkeypatch.setattr(machine, "gpus", lambda: ["0", "1"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [machine.default_threads(device) for device in ("cpu", "auto", "cuda")] == [16, 8, 8]
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert machine.default_threads("auto") == 3
