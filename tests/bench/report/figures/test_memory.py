"""The memory plot: which runs belong to which setting, and that both panels are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.files import write_json
from bench.report.figures import memory
from bench.report.model import RunScore
from bench.report.records import Record, Runs
from bench.store.run import Run

ROWS: list[dict[str, Any]] = [
    {"series": "ReCo", "method": "reco", "setting": {"num_queries": 32, "num_negatives": 64}, "pixels": 32 * 65,
     "extra_bytes": 2e6, "peak_bytes": 3e6, "state": "done"},
    {"series": "ReCo", "method": "reco", "setting": {"num_queries": 64, "num_negatives": 64}, "pixels": 64 * 65,
     "extra_bytes": 2.1e6, "peak_bytes": 3e6, "state": "done"},
    {"series": "dense", "method": None, "setting": {"num_pixels": 4096}, "pixels": 4096, "extra_bytes": None,
     "peak_bytes": None, "state": "out-of-memory"},
]  # fmt: skip


def score(run_id: str, state: str, miou: float | None = None) -> RunScore:
    return RunScore(run_id, 0, state, "", 0.0, 0.0, "", "", {"last": miou, "best": miou})


def done(store: Path, run_id: str, miou: float, **options: Any) -> Record:
    run = Run(store / run_id)
    run.path.mkdir(parents=True)
    write_json(run.cell, {"id": run_id, "spec": {"method": options}})
    return Record({}, score(run_id, "done", miou), None, None, "", {})


def test_runs_are_found_by_the_settings_that_they_share(tmp_path: Path) -> None:
    store = tmp_path / "store"
    runs = [
        done(store, "a", 50.0, name="reco", num_queries=32, num_negatives=64),
        done(store, "b", 51.0, name="reco", num_queries=32, num_negatives=64),
        done(store, "c", 52.0, name="reco", num_queries=64, num_negatives=64),
        done(store, "d", 99.0, name="reco", num_queries=999, num_negatives=64),
        done(store, "e", 99.0, name="classmix", num_queries=32, num_negatives=64),
    ]
    running = Record({}, score("f", "running"), None, None, "", {})
    found = memory.scores(store, Runs([*runs, running], []), ROWS)
    assert found == {"ReCo": [(2080, 50.0), (2080, 51.0), (4160, 52.0)]}
    sweep = {"title": "t", "mode": "real", "limit_bytes": 6e9, "rows": ROWS, "slopes": {"ReCo": 0.07, "dense": None}}
    for points in (found, {}, None):
        files = memory.draw(sweep, points, tmp_path / "plots")
        assert [path.name for path in files] == ["memory.png", "memory.svg", "memory.pdf"]
        assert all(path.stat().st_size > 1000 for path in files)
