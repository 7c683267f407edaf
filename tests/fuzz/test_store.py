"""Files of runs and bundles, damaged or forged: every reader says so, and none raises anything else."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.report import frame, records, tables
from bench.report.curves import read_curves
from bench.report.formats.render import render
from bench.run.doctor import examine_runs
from bench.store.bundle.merge import merge
from bench.store.bundle.write import write_bundle
from bench.store.run import Run
from bench.store.status import grid_status
from tests.bench.store.bundle.conftest import Lab, lab
from tests.bench.store.bundle.test_attacks import forged
from tests.bench.store.test_schema import DATA, summary_of
from tests.fuzz.changes import budget, changed, files, garbled, in_bounded_time, lines

__all__ = ["lab"]
STORE = DATA / "store-1"
DONE = next(path.parent for path in sorted(STORE.glob("*/result.json")))
NAMES = ["state.json", "result.json", "cell.json", "cost.json", "memory.json", "rounding.json"]
LINES = ["attempts.jsonl", "metrics.jsonl", "timing.jsonl"]
ARRAYS = ["confusion-last.npz", "confusion-best.npz"]
DAMAGES = st.one_of(
    *(st.tuples(st.just(name), files((DONE / name).read_bytes())) for name in NAMES),
    *(st.tuples(st.just(name), lines((DONE / name).read_bytes())) for name in LINES),
    *(st.tuples(st.just(name), garbled((DONE / name).read_bytes())) for name in ARRAYS),
    st.tuples(st.just("ticket.json"), files(b'{"submission": "s1", "array": 7, "index": 0, "moves": 0, "time": 1.5}')),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kept store, which each example damages and mends again."""
    copy = tmp_path_factory.mktemp("fuzz") / "store"
    shutil.copytree(STORE, copy)
    return copy


@budget(60)
@given(damage=DAMAGES)
def test_files_of_a_run(store: Path, damage: tuple[str, bytes]) -> None:
    """Status, table, frame and curves show the other runs as always; the doctor names what is damaged."""
    name, content = damage
    run, summary = Run(store / DONE.name), summary_of(STORE)
    shutil.rmtree(run.path)
    shutil.copytree(DONE, run.path)
    (run.path / name).write_bytes(content)
    with in_bounded_time():
        state = grid_status(store, summary)
        states = {row["id"]: row["state"] for row in state["cells"]}
        assert [states[cell.id] for cell in summary.cells if cell.id != run.id] == ["done", "failed"]
        runs = records.load(store, summary.cells)
        render(tables.build(runs, summary), "json")
        rows = frame.load(store, summary.cells).set_index("id")
        assert rows["state"][run.id] == states[run.id]
        with contextlib.suppress(BenchError):
            read_curves(store, [cell.id for cell in summary.cells])
        examine_runs(store, mend=False)


@pytest.fixture
def bundle(lab: Lab, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "a.zip", lab.asked())
    return tmp_path / "a.zip"


def merged(path: Path, store: Path) -> None:
    """Merge a bundle into a new store: refused in one line, with nothing written, or taken."""
    try:
        with in_bounded_time():
            found = merge(path, store)
    except BenchError as error:
        assert (str(error) and not store.exists()) or not [p for p in store.iterdir() if not p.name.startswith(".")]
    else:
        assert {p.name for p in store.iterdir() if not p.name.startswith(".")} == set(found.new)


@budget(40)
@given(data=st.data())
def test_archives_of_any_bytes(bundle: Path, tmp_path: Path, data: st.DataObject) -> None:
    other, store = tmp_path / "b.zip", tmp_path / "merged"
    shutil.rmtree(store, ignore_errors=True)
    other.write_bytes(data.draw(garbled(bundle.read_bytes())))
    merged(other, store)


KINDS = [
    "manifest.json",
    "plan.json",
    "environment.json",
    "cell.json",
    "result.json",
    "state.json",
    ".jsonl",
    "grid.yaml",
]


@budget(40)
@given(data=st.data())
def test_archives_with_forged_members(bundle: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Their hashes fit what they hold, so that no checksum tells."""
    other, store = tmp_path / "b.zip", tmp_path / "merged"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copy(bundle, other)
    kind = data.draw(st.sampled_from(KINDS))
    if kind.endswith(".json"):
        forged(kind, lambda value: data.draw(changed(value)))(other)
    else:
        forged(kind, lambda value: data.draw(garbled(value)))(other)
    merged(other, store)
