"""Coordinates: whatever an axis tells apart, tables tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep
from bench.report import records, tables
from bench.report.model import Table

TINY = {"name": "deeplabv3plus", "backbone": "tiny"}
STRIDES = [{**TINY, "output_stride": 8}, {**TINY, "output_stride": 16}]
CLASSES = [{"few_labels": {"labels": 16, "min_classes": count}} for count in (1, 3)]


def plan(folder: Path, axes: dict[str, Any], **recipe: Any) -> tuple[list[dict[str, str | int]], Table]:
    """Return the coordinates of a grid's cells, and its table before anything has run."""
    path, given = folder / "grid.yaml", {"network": TINY, "protocol": {"few_labels": 16}, **recipe}
    path.write_text(yaml.safe_dump({"recipe": {k: v for k, v in given.items() if k not in axes}, "axes": axes}))
    _, summary = plan_and_keep(Request(str(path), (), (), folder / "store"))
    runs = records.load(folder / "store", summary.cells)
    return [cell.coords for cell in summary.cells], tables.build(runs, summary)


def cells(table: Table) -> list[tuple[str, str, int]]:
    """Return network, label budget and number of planned runs of each cell of a table."""
    return [
        (section.keys["network"], column.keys["labels"], cell.planned)
        for section in table.sections
        for row in section.rows
        for column, cell in zip(section.columns, row.cells, strict=True)
    ]


def test_networks_and_protocols_of_the_same_name_are_told_apart_by_their_options(tmp_path: Path) -> None:
    _, table = plan(tmp_path, {"network": STRIDES, "protocol": CLASSES, "seed": [0, 1]})
    assert cells(table) == [
        ("tiny (output_stride=8)", "16 (min_classes=1)", 2),
        ("tiny (output_stride=8)", "16 (min_classes=3)", 2),
        ("tiny (output_stride=16)", "16 (min_classes=1)", 2),
        ("tiny (output_stride=16)", "16 (min_classes=3)", 2),
    ]
    assert table.warnings == ()


def test_labels_of_networks_and_protocols_are_shown(tmp_path: Path) -> None:
    networks = [{**part, "label": f"OS {part['output_stride']}"} for part in STRIDES]
    protocols = [
        {"few_labels": {**part["few_labels"], "label": name}} for part, name in zip(CLASSES, "ab", strict=True)
    ]
    _, table = plan(tmp_path, {"network": networks, "protocol": protocols})
    assert cells(table) == [("OS 8", "a", 1), ("OS 8", "b", 1), ("OS 16", "a", 1), ("OS 16", "b", 1)]


def test_backbone_and_label_budget_are_enough_where_they_differ(tmp_path: Path) -> None:
    networks = [{**TINY, "output_stride": 8}, {**TINY, "backbone": "resnet18", "weights": "none"}]
    _, table = plan(tmp_path, {"network": networks, "protocol": [{"few_labels": 16}, {"ratio": "1/4"}, "full"]})
    names = [(network, labels) for network in ("tiny", "resnet18") for labels in ("16", "1/4", "full")]
    assert cells(table) == [(*name, 1) for name in names]


def test_a_dotted_axis_that_no_coordinate_shows_becomes_one(tmp_path: Path) -> None:
    coords, table = plan(tmp_path, {"protocol.min_classes": [1, 3], "seed": [0, 1]})
    assert [place["protocol.min_classes"] for place in coords] == ["1", "1", "3", "3"]
    assert [row.keys["protocol.min_classes"] for row in table.sections[0].rows] == ["1", "3"]
    assert [cell[2] for cell in cells(table)] == [2, 2]
    coords, _ = plan(tmp_path, {"protocol.labels": [8, 16]})  # shown as the label budget
    assert [place["labels"] for place in coords] == ["8", "16"]
    assert "protocol.labels" not in coords[0]


def test_a_label_does_not_hide_another_axis(tmp_path: Path) -> None:
    axes = {"network": [{**TINY, "label": "mine"}], "network.backbone": ["tiny", "resnet18"]}
    coords, table = plan(tmp_path, axes, seed=0)
    assert [(place["network"], place["network.backbone"]) for place in coords] == [
        ("mine", "tiny"),
        ("mine", "resnet18"),
    ]
    assert [cell[2] for cell in cells(table)] == [1, 1]


def test_cells_that_differ_in_their_seeds_too_are_told_apart(tmp_path: Path) -> None:
    """Each budget has a seed of its own: without its options' names, both would be seeds of one cell."""
    path = tmp_path / "grid.yaml"
    exclude = [{"protocol.min_classes": 1, "seed": 1}, {"protocol.min_classes": 3, "seed": 0}]
    content = {"recipe": {"network": TINY}, "axes": {"protocol": CLASSES, "seed": [0, 1]}, "exclude": exclude}
    path.write_text(yaml.safe_dump(content))
    _, summary = plan_and_keep(Request(str(path), (), (), tmp_path / "store"))
    places = [(cell.coords["labels"], cell.coords["seed"]) for cell in summary.cells]
    assert places == [("16 (min_classes=1)", 0), ("16 (min_classes=3)", 1)]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("network", [{**part, "label": "same"} for part in STRIDES]),
        ("protocol", [{"few_labels": {**part["few_labels"], "label": "same"}} for part in CLASSES]),
        ("method", [{"name": name, "label": "same"} for name in ("supervised", "classmix")]),
    ],
)
def test_equal_labels_of_one_axis_are_refused(axis: str, values: list[Any], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=rf"grid\.yaml: axes\.{axis}: two of its values have the same name in tables"):
        plan(tmp_path, {axis: values})
