"""What runs were computed with: read from their attempts, a column each, and named where it differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.report import differences, environment, frame, pairs, records, tables
from bench.report.formats import json as as_json
from bench.report.formats.render import render
from bench.report.model import Table
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

ATTEMPT: dict[str, Any] = {
    "git_sha": "5810a0c8" * 5,
    "git_dirty": False,
    "packages": {"torch": "2.15.0", "torchvision": "0.29.2", "timm": None, "numpy": "2.4.1"},
    "plugins": {"mine.py": "ab" * 32},
    "python": "3.11.7",
    "cpu": "AMD EPYC",
    "device": "cpu",
    "threads": 2,
    "compile": False,
    "tf32": False,
    "tf32_convolutions": False,
    "cudnn": None,
    "host": "one",
    "pid": 1,
}
WHERE = "camvid, resnet18, few_labels, labels 20"


def attempts(run: Path, *changes: dict[str, Any]) -> None:
    lines = [json.dumps({"attempt": number, **ATTEMPT, **change}) for number, change in enumerate(changes, 1)]
    (run / "attempts.jsonl").write_text("".join(f"{line}\n" for line in lines))


def made(store: Store, method: str, seed: int, *changes: dict[str, Any], labels: str = "20", **result: Any) -> Path:
    """Make a finished run whose attempts have these changes."""
    run = store.plan(method, labels, seed)
    store.done(run, 50.0 + seed, **result)
    if changes:
        attempts(run, *changes)
    return run


def warnings(store: Store, grid: Summary) -> list[str]:
    return list(tables.build(records.load(store.path, store.cells), grid).warnings)


def packages(**versions: str) -> dict[str, Any]:
    return {"packages": {**ATTEMPT["packages"], **versions}}


GPU = {"device": "NVIDIA A100", "cudnn": 91002}
CHANGES = [
    (packages(torch="2.3.1"), "torch differs at {where}; it can move results (2.15.0: a; 2.3.1: b)."),
    (packages(torchvision="0.18"), "torchvision differs at {where}; it can move results (0.29.2: a; 0.18: b)."),
    ({"git_sha": "bf025217" * 5}, "commit differs at {where}; it can move results (5810a0c8: a; bf025217: b)."),
    (
        {"git_dirty": True, "code_sha256": "12" * 32},
        "commit differs at {where}; it can move results (5810a0c8: a; 5810a0c8+changes (code 12121212): b).",
    ),
    (
        {"plugins": {"mine.py": "cd" * 32}},
        "plug-in mine.py differs at {where}; it can move results (abababab: a; cdcdcdcd: b).",
    ),
    ({"threads": 1}, "number of threads differs at {where}; it can move results (2: a; 1: b)."),
    ({"cpu": "Intel Xeon"}, "device differs at {where}; it can move results (AMD EPYC: a; Intel Xeon: b)."),
    ({**GPU, "threads": 9}, "device differs at {where}; it can move results (AMD EPYC: a; NVIDIA A100: b)."),
    ({"compile": True}, "compile differs at {where}; it can move results (no: a; yes: b)."),
]


@pytest.mark.parametrize(("change", "line"), CHANGES)
def test_what_differs_is_named_beneath_every_table(
    store: Store, grid: Summary, change: dict[str, Any], line: str
) -> None:
    for seed in range(2):
        made(store, "a", seed, {})
        made(store, "b", seed, change)
    runs, said = records.load(store.path, store.cells), line.format(where=WHERE)
    three = [tables.build(runs, grid), tables.per_class(runs, grid), pairs.build(runs, grid, "a", "b")]
    assert [list(table.warnings) for table in three] == [[said]] * 3
    for table in three:
        assert as_json.as_data(table)["warnings"] == [said]
        assert said.split(" (")[0] in render(table, "md")


def test_nothing_is_said_where_all_agree_or_what_differs_moves_nothing(store: Store, grid: Summary) -> None:
    made(store, "a", 0, {})
    made(
        store,
        "a",
        1,
        {"host": "two", "pid": 2, "time": "later", "cores": 64, "platform": "other", "slurm": {"job_id": 1}},
    )
    made(store, "b", 0, {"packages": {**ATTEMPT["packages"], "pandas": "9"}})
    made(store, "b", 1)  # of an earlier version: unknown, and not an error
    assert warnings(store, grid) == []
    table = pairs.build(records.load(store.path, store.cells), grid, "a", "b")
    assert table.warnings == ()


def test_threads_and_processors_of_gpu_runs_are_not_compared_but_cudnn_is(store: Store, grid: Summary) -> None:
    made(store, "a", 0, GPU)
    made(store, "b", 0, {**GPU, "threads": 8, "cpu": "Intel Xeon", "cudnn": 90100, "tf32": True})
    found = warnings(store, grid)
    assert [line.partition(" differs")[0] for line in found] == ["cuDNN", "TF32 in matrix products"]
    assert "(91002: a; 90100: b)" in found[0]


def test_runs_of_one_cell_are_told_apart_by_their_seeds(store: Store, grid: Summary) -> None:
    for seed in range(3):
        made(store, "a", seed, packages(torch="2.3.1") if seed == 1 else {})
        made(store, "b", seed, {})
    assert warnings(store, grid) == [
        f"torch differs at {WHERE}; it can move results (2.15.0: a seed 0, 2, b; 2.3.1: a seed 1)."
    ]


def test_a_run_whose_attempts_differ_is_named_with_its_values_in_order(store: Store, grid: Summary) -> None:
    made(store, "a", 0, packages(torch="2.3.1"), packages(torch="2.3.1"), {})
    assert warnings(store, grid) == [f"torch differs at {WHERE}; it can move results (2.3.1 → 2.15.0: a)."]


def test_attempts_before_a_start_anew_do_not_count(store: Store, grid: Summary) -> None:
    old = packages(torch="2.3.1")
    made(store, "a", 0, {**old, "goes_on": False}, {"goes_on": False}, {"goes_on": True})
    made(store, "a", 1, {})
    assert warnings(store, grid) == []


def test_other_hardware_is_named_from_the_state_alone(store: Store, grid: Summary) -> None:
    for seed, models in enumerate([["A100"], ["A100", "H100"], None]):
        run = store.plan("a", "20", seed)
        store.done(run, 53.0)
        store.state(run, "done", step=400, hardware=models)
    assert warnings(store, grid) == [
        f"device differs at {WHERE}; it can move results (A100: a seed 0; A100 → H100: a seed 1)."
    ]


def test_rounding_json_stands_for_missing_attempts(store: Store, grid: Summary) -> None:
    for seed, threads in enumerate((1, 2)):
        noted = {"threads": threads, "compile": False, "device": "cpu", "models": ["AMD EPYC"]}
        (made(store, "a", seed) / "rounding.json").write_text(json.dumps(noted))
    assert warnings(store, grid) == [
        f"number of threads differs at {WHERE}; it can move results (1: a seed 0; 2: a seed 1)."
    ]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]\n", b"null\n{}\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"packages": 5}\n']
)
def test_damaged_attempts_are_unknown_and_hide_no_score(store: Store, grid: Summary, content: bytes) -> None:
    run = made(store, "a", 0)
    (run / "attempts.jsonl").write_bytes(content)
    (run / "rounding.json").write_bytes(content)
    made(store, "a", 1, {})
    assert warnings(store, grid) == []
    assert frame.load(store.path, store.cells)["state"].tolist() == ["done", "done"]


def test_runs_that_are_not_done_are_not_compared(store: Store, grid: Summary) -> None:
    made(store, "a", 0, {})
    run = store.plan("a", "20", 1)
    store.state(run, "failed")
    attempts(run, packages(torch="2.3.1"))
    assert warnings(store, grid) == []


def test_only_runs_that_are_compared_with_each_other_are(store: Store, grid: Summary) -> None:
    made(store, "a", 0, {})
    made(store, "b", 0, packages(torch="2.3.1"), labels="full")
    assert warnings(store, grid) == []


def test_a_difference_that_an_axis_asks_for_is_no_surprise(store: Store, grid: Summary) -> None:
    for value in (False, True):
        run = store.plan("a", "20", 0, **{"numerics.tf32": str(value)})
        store.done(run, 50.0)
        attempts(run, {**GPU, "tf32_convolutions": value})
    assert warnings(store, grid) == []


def test_data_that_differ_are_named(store: Store, grid: Summary) -> None:
    made(store, "a", 0, {}, data_sha256="11" * 32)
    made(store, "b", 0, {}, data_sha256="22" * 32)
    made(store, "c", 0, {})
    assert warnings(store, grid) == [
        f"content of the dataset differs at {WHERE}; it can move results (11111111: a; 22222222: b)."
    ]


def _named(table: Table, what: str) -> Sequence[str]:
    return [line for line in table.warnings if line.startswith(what)]


def test_many_places_and_many_values_are_counted(store: Store, grid: Summary) -> None:
    for labels in map(str, range(9)):
        for seed in range(6):
            made(store, "a", seed, packages(torch=f"2.{seed}"), labels=labels)
    lines = _named(tables.build(records.load(store.path, store.cells), grid), "torch")
    assert len(lines) == differences.MAX_PLACES + 1
    assert "2.3: a seed 3; and 2 more)." in lines[0]
    assert lines[-1] == "torch differs at 6 more label budgets: `table --runs` has all values."


def test_runs_have_a_column_for_each_fact(store: Store) -> None:
    made(store, "a", 0, packages(torch="2.3.1"), {"git_dirty": True}, data_sha256="11" * 32)
    made(store, "a", 1)
    loaded = frame.load(store.path, store.cells)
    assert {fact.column for fact in environment.FACTS} <= set(loaded.columns)
    assert len(set(loaded.columns)) == len(loaded.columns)
    assert "environment" not in loaded.columns
    one, two = loaded.to_dict("records")
    assert (one["torch"], one["commit"], one["threads"]) == ("2.3.1 → 2.15.0", "5810a0c8 → 5810a0c8+changes", "2")
    assert (one["plugin mine.py"], one["data_sha256"]) == ("ab" * 32, "11" * 32)
    assert (one["device_model"], one["timm"], one["cudnn"]) == ("AMD EPYC", "", "")
    assert {two[fact.column] for fact in environment.FACTS} == {""}


def test_a_line_more_is_seen_by_a_warm_cache(store: Store, reads: list[str]) -> None:
    run = made(store, "a", 0, {})
    assert frame.load(store.path, store.cells)["torch"].tolist() == ["2.15.0"]
    attempts(run, {}, packages(torch="2.3.1"))
    assert frame.load(store.path, store.cells)["torch"].tolist() == ["2.15.0 → 2.3.1"]
    assert frame.load(store.path, store.cells)["torch"].tolist() == ["2.15.0 → 2.3.1"]
    assert reads == [run.name, run.name]
