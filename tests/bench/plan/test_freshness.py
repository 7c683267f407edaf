"""A grid planned before is planned again only where what its plan rests on has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bench.data.content import content_of
from bench.data.roots import open_dataset
from bench.data.splits import draw_split, split_path
from bench.errors import BenchError
from bench.plan import summary
from bench.plan.cells import Plan, resolve_grid
from bench.plan.request import Request
from bench.plan.summary import planned_summary
from bench.store.summary import Summary

GRID: dict[str, Any] = {
    "recipe": {"dataset": "folder", "network": {"name": "deeplabv3plus", "backbone": "tiny"}},
    "axes": {"protocol": [{"few_labels": 2}, "full"], "seed": [0, 1]},
}


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The grids that were planned, in order."""
    names: list[str] = []
    real = resolve_grid

    def counting(request: Request, absent: bool = False) -> Plan:
        names.append(request.name)
        return real(request, absent)

    monkeypatch.setattr(summary, "resolve_grid", counting)
    return names


def look(request: Request) -> Summary:
    """Look at a grid as a new process does."""
    draw_split.cache_clear()
    content_of.cache_clear()
    open_dataset.cache_clear()
    return planned_summary(request)


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    """A grid on a dataset of a folder of its own, whose lists a test can change."""
    from datasets.synthetic import Counts, Synthetic, SyntheticConfig

    config = SyntheticConfig(image_size=32, counts=Counts(train=12, val=2, test=2))
    Synthetic.prepare(config, tmp_path / "drawn", None)
    shutil.move(tmp_path / "drawn" / config.folder, tmp_path / "data")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(GRID))
    data = (f"folder={tmp_path / 'data'}",)
    return Request(str(tmp_path / "small.yaml"), (), data, tmp_path / "store")


def test_a_plan_that_still_holds_is_not_made_again(request_of: Request, planned: list[str]) -> None:
    first = look(request_of)
    (sha256, *_) = {split.sha256 for split in first.freshness.splits}
    split_path(request_of.store, sha256).unlink()
    assert look(request_of) == first
    assert planned == ["small"]
    assert split_path(request_of.store, sha256).exists()
    assert sum(work.cells for work in first.work) == len(first.cells) == 4


def test_other_data_are_planned_again(request_of: Request, planned: list[str], tmp_path: Path) -> None:
    first = look(request_of)
    path = tmp_path / "data" / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines()[1:]))
    second = look(request_of)
    assert planned == ["small", "small"]
    assert {cell.id for cell in first.cells}.isdisjoint(cell.id for cell in second.cells)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(BenchError, match="no folder"):
        look(request_of)


def test_a_changed_file_that_an_option_names_is_planned_again(
    request_of: Request, planned: list[str], tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, weights)
    request = Request(request_of.grid, (f"network.weights={weights}",), request_of.data, request_of.store)
    first = look(request)
    assert look(request) == first
    torch.save({"a": torch.ones(2)}, weights)
    assert look(request).freshness.files.keys() == first.freshness.files.keys() == {str(weights)}
    assert planned == ["small", "small"]


def test_a_plan_just_made_is_neither_read_back_nor_expanded_again(request_of: Request, planned: list[str]) -> None:
    plan, found = summary.plan_and_keep(request_of)
    assert planned == ["small"]
    assert [cell.id for cell in found.cells] == [cell.cell.id for cell in plan.cells]
    assert summary.read_kept(request_of) == found == look(request_of)
    assert planned == ["small"]


def test_a_kept_summary_has_the_keys_that_readers_know(request_of: Request) -> None:
    summary.plan_and_keep(Request(request_of.grid, ("schedule.iterations=3",), request_of.data, request_of.store))
    (path,) = (request_of.store / ".cache" / "plans").glob("small-*.json")
    content = json.loads(path.read_text())
    keys = {"name", "title", "select", "iterations", "recipe", "axes", "cells", "deviations", "work", "freshness"}
    keys |= {"identities", "checked", "warnings"}
    assert content.keys() == keys
    assert content["cells"][0].keys() == {
        *("id", "slug", "order", "coords", "iterations", "deviations", "data_sha256", "pieces")
    }
    content["later"] = content["cells"][0]["later"] = "a key of another version"
    assert Summary.model_validate_json(json.dumps(content)).cells[0].deviations == ["schedule.iterations"]
