"""Conditions compare resolved, typed values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.spec.conditions import Condition, Resolved, same
from tests.bench.spec.test_spec import plan


@pytest.mark.parametrize(
    ("have", "wanted", "equal"),
    [
        (1.0, 1, True),
        (1, 1.0, True),
        (0.0025, 2.5e-3, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ("1", 1, False),
        (None, None, True),
        (None, 0, False),
        ((513, 513), [513, 513.0], True),
        ([1, 2], [1], False),
        ({"a": 1, "b": 2}, {"a": 1.0}, True),
        ({"a": 1}, {"c": None}, False),
        ("1/4", "1/4", True),
    ],
)
def test_values_are_the_same_whatever_their_spelling(have: object, wanted: object, equal: bool) -> None:
    assert same(have, wanted) is equal


def chosen(tmp_path: Path, when: dict[str, Any], **axes: list[Any]) -> list[float | None]:
    """Return each cell's clip_norm, which an override sets where a condition is met."""
    changes = {**{f"axes/{key}": values for key, values in axes.items()}}
    changes["overrides"] = [{"when": when, "set": {"optimizer.clip_norm": 5.0}}]
    return [p.cell.optimizer.clip_norm for p in plan(tmp_path, changes).cells]


METHODS = ["supervised", "classmix", {"name": "classmix", "threshold": 0.5, "label": "half"}]


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ({"optimizer.lr": 0.05}, [1, 1, 1]),  # of the recipe
        ({"optimizer.momentum": 0.9}, [1, 1, 1]),  # a section's default
        ({"optimizer.nesterov": True}, [1, 1, 1]),
        ({"schedule.iterations": 8.0}, [1, 1, 1]),
        ({"schedule.batch": {"labelled": 2}}, [1, 1, 1]),
        ({"method.mix": "classmix"}, [0, 1, 1]),  # a method's default
        ({"method.threshold": [0.5]}, [0, 0, 1]),
        ({"method": {"classmix": {"threshold": 5.0e-1}}}, [0, 0, 1]),
        ({"method": {"name": "classmix", "mix": "classmix"}}, [0, 1, 1]),
        ({"method": "half"}, [0, 0, 1]),
        ({"method": ["supervised", "half"]}, [1, 0, 1]),
        ({"protocol": {"few_labels": 4}}, [1, 1, 1]),
        ({"protocol.labels": 4}, [1, 1, 1]),
        ({"evaluation.size": None}, [1, 1, 1]),
        ({"seed": 0, "method": "classmix"}, [0, 1, 1]),
        ({"seeds.split": 0}, [1, 1, 1]),
    ],
)
def test_conditions_see_the_resolved_cell(tmp_path: Path, when: dict[str, Any], met: list[int]) -> None:
    assert chosen(tmp_path, when, method=METHODS) == [5.0 if one else None for one in met]


def test_a_later_condition_sees_what_an_earlier_one_set(tmp_path: Path) -> None:
    changes = {
        "overrides": [
            {"when": {"method": "supervised"}, "set": {"optimizer.lr": 1}},
            {"when": {"optimizer.lr": 1.0}, "set": {"optimizer.clip_norm": 5.0}},
        ]
    }
    assert [p.cell.optimizer.clip_norm for p in plan(tmp_path, changes).cells] == [5.0]


CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({"method": ["supervised", "clasmix"]}, "overrides.0.when: method 'clasmix' matches no cell"),
    ({"optimizer.lr": [0.05, 0.04]}, "overrides.0.when: optimizer.lr 0.04 matches no cell"),
    (
        {"optimizer.lrr": 1},
        "overrides.0.when.optimizer.lrr: no cell of the grid has this key (did you mean 'optimizer.lr'?)",
    ),
    ({"method.mixx": 1}, "overrides.0.when.method.mixx: no cell of the grid has this key"),
    (
        {"optimizer.nesterov": 1},
        "optimizer.nesterov 1 matches no cell of the grid; cells have true",
    ),
    ({"method": "supervised", "seed": 1}, "overrides.0.when: seed 1 matches no cell"),
]


@pytest.mark.parametrize(("when", "message"), CONDITIONS)
def test_what_stands_for_nothing_in_a_condition_is_an_error(tmp_path: Path, when: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError) as error:
        chosen(tmp_path, when)
    assert message in str(error.value)


def test_each_value_may_be_met_and_their_combination_never(tmp_path: Path) -> None:
    condition = Condition("exclude.0", {"method": "classmix", "seed": 1}, Resolved())
    for raw in ({"method": {"name": "classmix"}, "seed": 0}, {"method": {"name": "supervised"}, "seed": 1}):
        assert not condition(raw)
    with pytest.raises(BenchError, match=r"exclude.0: \{'method': 'classmix', 'seed': 1\} matches no cell"):
        condition.check("g.yaml")
