"""Views of a grid whose data isn't here, or has changed: cells are the store's runs, and nothing mixes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench.data.content import content_of
from bench.data.roots import open_dataset
from bench.data.splits import draw_split
from bench.errors import BenchError
from bench.plan.cells import resolve_grid
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep, planned_summary, read_kept
from bench.store.cells import write_cell
from bench.store.run import Run
from bench.store.status import grid_status
from bench.store.summary import Summary
from datasets.synthetic import Counts, Synthetic, SyntheticConfig
from tests.finished import write_result

GRID = """
recipe:
  dataset: folder
  network: {name: deeplabv3plus, backbone: tiny}
axes:
  protocol: [{few_labels: 2}]
  seed: [0, 1]
"""


def fresh() -> None:
    """Forget the data, as a new process does."""
    for known in (content_of, open_dataset, draw_split):
        known.cache_clear()


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    config = SyntheticConfig(image_size=32, counts=Counts(train=12, val=4, test=1))
    Synthetic.prepare(config, tmp_path / "drawn", None)
    shutil.move(tmp_path / "drawn" / config.folder, tmp_path / "data" / "folder")
    (tmp_path / "small.yaml").write_text(GRID)
    return Request(str(tmp_path / "small.yaml"), (), (f"folder={tmp_path / 'data' / 'folder'}",), tmp_path / "store")


def finish(request: Request, count: int = 2) -> list[str]:
    """Plan a grid and give its first runs a result; return their ids."""
    fresh()
    plan, _ = plan_and_keep(request)
    for planned in plan.cells[:count]:
        run = Run(request.store / planned.cell.id)
        write_cell(run, plan.name, planned.cell, planned.coords, planned.data_sha256)
        write_result(run)
    return [planned.cell.id for planned in plan.cells[:count]]


def without_data(request: Request) -> tuple[Request, Summary]:
    fresh()
    elsewhere = Request(request.grid, request.sets, (), request.store)
    return elsewhere, plan_and_keep(elsewhere, absent=True)[1]


def test_cells_whose_length_is_in_epochs_are_found_without_their_data(asked: Request) -> None:
    Path(asked.grid).write_text(
        GRID + "  optimizer.lr: [0.1]\n" + "overrides:\n- {when: {seed: 0}, set: {schedule.epochs: 3}}\n"
    )
    ids = finish(asked)
    fresh()
    found = resolve_grid(replace(asked, data=()), absent=True)
    assert [planned.cell.id for planned in found.cells] == ids
    assert [planned.cell.schedule.iterations for planned in found.cells] == [3, 40_000]


def test_without_data_cells_are_the_stores_runs(
    asked: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    done = finish(asked, count=1)
    request, found = without_data(asked)
    assert found.cells[0].id == done[0]
    assert found.cells[1].id.startswith("folder_few-labels-2_tiny_supervised_s1-")
    assert not (request.store / found.cells[1].id).exists()
    assert list(found.absent) == ["folder"] and "there is no folder" in found.absent["folder"]
    assert grid_status(request.store, found)["totals"] == {"done": 1, "pending": 1}
    with pytest.raises(BenchError, match="there is no folder"):
        resolve_grid(request)
    # it holds while the store has the same runs, and no longer
    assert planned_summary(request) == read_kept(request) == found
    done = finish(asked)
    assert [cell.id for cell in without_data(asked)[1].cells] == done


def test_without_data_runs_on_other_data_stay_out(
    asked: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    first = finish(asked)
    Image.new("RGB", (32, 32)).save(tmp_path / "data" / "folder" / "JPEGImages" / "val_00000.png")
    (other,) = finish(asked, count=1)
    _, found = without_data(asked)
    assert [cell.id for cell in found.cells] == first
    assert found.left_out == [other]


def test_changed_data_make_other_runs_and_old_ones_say_why(asked: Request, tmp_path: Path) -> None:
    first = finish(asked)
    path = tmp_path / "data" / "folder" / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    fresh()
    found = planned_summary(asked)
    assert not {cell.id for cell in found.cells} & set(first)
    stale = grid_status(asked.store, found)["stale"]
    assert [row["id"] for row in stale] == sorted(first)
    assert {row["reason"] for row in stale} == {"the data changed: val: 2 of 4 images gone (val_00002, val_00003)"}


def test_two_folders_have_plans_of_their_own(asked: Request, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "data" / "folder", tmp_path / "other")
    Image.new("RGB", (32, 32)).save(tmp_path / "other" / "JPEGImages" / "train_00000.png")
    other = Request(asked.grid, (), (f"folder={tmp_path / 'other'}",), asked.store)
    fresh()
    one, two = plan_and_keep(asked)[1], plan_and_keep(other)[1]
    assert not {cell.id for cell in one.cells} & {cell.id for cell in two.cells}
    assert (read_kept(asked), read_kept(other)) == (one, two)


def test_a_changed_recipe_is_named_as_the_reason(asked: Request) -> None:
    finish(asked, count=1)
    fresh()
    found = plan_and_keep(Request(asked.grid, ("optimizer.lr=0.5",), asked.data, asked.store))[1]
    (stale,) = grid_status(asked.store, found)["stale"]
    assert stale["reason"] == "it lacks this call's --set optimizer.lr=0.5"


def test_a_damaged_cell_is_no_candidate(asked: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    (done,) = finish(asked, count=1)
    content = json.loads((asked.store / done / "cell.json").read_text())
    for text in ("{", "[]", '{"spec": 1}', json.dumps({**content, "spec": {**content["spec"], "split_sha256": "0"}})):
        (asked.store / done / "cell.json").write_text(text)
        assert done not in [cell.id for cell in without_data(asked)[1].cells]
