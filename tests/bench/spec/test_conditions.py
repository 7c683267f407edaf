"""Conditions hold where setting their value would change nothing: against the resolved cells of generated grids."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml

from bench.cli.options import matching
from bench.errors import BenchError
from bench.spec.conditions import matches
from bench.spec.yaml import Raw, parse_yaml
from tests.bench.spec.test_spec import plan

BASE: Raw = {
    "dataset": {"name": "synthetic"},
    "method": {"name": "rc2l"},
    "protocol": {"name": "ratio", "share": "1/4"},
    "network": {"name": "deeplabv3plus", "backbone": "tiny"},
    "augmentation": {"name": "reco"},
    "evaluation": {"mode": "padded", "size": [513, 513]},
    "seed": 3,
}


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ({"evaluation.size": [513, 513]}, True),  # a list that is a value
        ({"evaluation.size": [[1, 1], [513, 513]]}, True),  # and one of alternatives
        ({"evaluation.size": [513, 512]}, False),
        ({"evaluation.mode": ["whole", "padded"]}, True),
        ({"protocol.share": 0.25}, True),
        ({"protocol": {"ratio": "2/8"}}, True),
        ({"protocol": {"share": "1/8"}}, False),
        ({"network": "mask_classifier"}, True),  # the method's own
        ({"network.output_stride": 32}, True),
        ({"network.backbone": "tiny"}, True),
        ({"network": "deeplabv3plus"}, False),
        ({"seeds.init": 3, "seed": 3.0}, True),
        ({"optimizer.nesterov": "true"}, False),
        ({"optimizer.clip_norm": None}, True),
    ],
)
def test_what_a_condition_sees(when: Raw, met: bool) -> None:
    assert matches(BASE, when) is met


def test_every_spelling_of_every_value_meets_its_own_cells_and_no_others() -> None:
    """Over the sections' numbers and words: a condition is met exactly where the parsed values are equal."""
    spellings = {0.5: ["0.5", "5e-1", ".5", "0.50"], 1.0: ["1", "1.0", "1e0"], 2.5: ["2.5", "25e-1"]}
    for have, wanted in itertools.product(spellings, repeat=2):
        for text, other in itertools.product(spellings[have], spellings[wanted]):
            raw = {**BASE, "optimizer": {"lr": yaml.safe_load(text) if "e" not in text else float(text)}}
            assert matches(raw, {"optimizer.lr": parse_yaml(other, "")}) is (have == wanted)


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ("optimizer.lr=1e-3", 2),
        ("optimizer.lr=0.001,seed=1", 1),
        ("method=classmix", 4),
        ("method.mix=classmix", 4),
        ("schedule.iterations=8.0", 4),
        ("optimizer.lr=[0.001, 0.05]", 4),
    ],
)
def test_only_asks_for_typed_values_of_the_resolved_cell(tmp_path: Any, only: str, count: int) -> None:
    changes = {"axes/optimizer.lr": [0.001, 0.05], "axes/seed": [0, 1], "axes/method": ["classmix"]}
    cells = plan(tmp_path, changes).cells
    assert len(matching(cells, lambda planned: planned.coords, only, lambda planned: planned.cell)) == count


def test_only_says_what_is_wrong(tmp_path: Any) -> None:
    cells = plan(tmp_path).cells
    for only, message in (("optimizer.lrr=1", "optimizer.lr"), ("optimizer.lr=7", "0.05"), ('method="a, b', "quote")):
        with pytest.raises(BenchError, match=message):
            matching(cells, lambda planned: planned.coords, only, lambda planned: planned.cell)
