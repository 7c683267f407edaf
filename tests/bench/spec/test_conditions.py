"""Conditions hold where setting their value would change nothing: against the resolved cells of generated grids."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from bench.cli.options import matching
from bench.errors import BenchError
from bench.spec.conditions import matches
from bench.spec.deviations import deviations
from bench.spec.grid import Grid, expand, read_grid
from bench.yaml import Raw
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


# Key to its values, each with spellings; the first value is the default. A value counts by its place here.
SPELLINGS: dict[str, list[list[str]]] = {
    "optimizer.lr": [["0.0025", "2.5e-3", "25e-4", ".0025"], ["1", "1.0", "1e0", "0.1e1"], ["0.5", "5e-1", "0.50"]],
    "optimizer.nesterov": [["true", "True"], ["false", "FALSE"]],
    "optimizer.clip_norm": [["null", "~"], ["5", "5.0", "0.5e1"]],
    "schedule.iterations": [["40000", "4e4", "40_000", "40000.0"], ["100", "1e2", "0o144", "0x64"]],
    "schedule.batch.labelled": [["10", "10.0"], ["2", "2.0"]],
    "augmentation.crop_size": [["321", "[321, 321]", "[321.0, 321]"], ["[64, 32]"], ["64", "[64, 64]"]],
    "augmentation.scale": [["[0.5, 1.5]", "[5e-1, 1.50]"], ["[1, 1]", "[1.0, 1]"]],
    "protocol.share": [["1/4", "0.25", "2/8", ".25"], ["1/8", "0.125"]],
}
OPTIONS: dict[str, dict[str, list[list[str]]]] = {  # of some methods alone
    "classmix": {
        "method.mix": [["classmix"], ["cutmix", "'cutmix'"], ["none"]],
        "method.threshold": [["0.97", "97e-2"], ["0.5", ".5"]],
    },
    "rc2l": {"method.mix": [["none"], ["cutmix"]]},
    "supervised": {"method.batch_factor": [["2"], ["1", "1.0"]]},
}
KEYS = [*SPELLINGS, "method.mix", "method.threshold", "method.batch_factor", "network.output_stride"]
MEANINGS: dict[str, list[list[str]]] = SPELLINGS | {
    "method.mix": [["classmix"], ["cutmix"], ["none"]],
    "method.threshold": [["0.97", "97e-2"], ["0.5", ".5"]],
    "method.batch_factor": [["2", "2.0"], ["1", "1.0"]],
    "network.output_stride": [["32"], ["16"], ["8"]],
}


def meaning(key: str, spelling: str) -> int:
    """Return the place of a value among a key's meanings."""
    return next(i for i, same in enumerate(MEANINGS[key]) if spelling.strip("'") in same or spelling in same)


def generated(draw: random.Random) -> tuple[str, list[dict[str, int]]]:
    """Return axes of methods and other values, and of each cell its values' places, that of a default included."""
    lines, cells = [], list[dict[str, int]]()
    for name in draw.sample(sorted(OPTIONS), 2):
        known = SPELLINGS | OPTIONS[name]
        written = {key: draw.choice(draw.choice(known[key])) for key in OPTIONS[name] if draw.random() < 0.5}
        options = {key.split(".")[1]: text for key, text in written.items() if key.startswith("method.")}
        lines.append("{" + ", ".join([f"name: {name}", *(f"{k}: {v}" for k, v in options.items())]) + "}")
        have = {key: meaning(key, written.get(key, values[0][0])) for key, values in known.items()}
        cells.append(
            have | {"network.output_stride": meaning("network.output_stride", "32" if name == "rc2l" else "16")}
        )
    axes = [f"method: [{', '.join(lines)}]"]
    for key in draw.sample(sorted(SPELLINGS), 3):
        places = draw.sample(range(len(SPELLINGS[key])), draw.choice([1, 2]))
        axes.append(f"{key}: [{', '.join(draw.choice(SPELLINGS[key][place]) for place in places)}]")
        cells = [{**cell, key: place} for cell in cells for place in places]
    return "\n  ".join(axes), cells


def condition(draw: random.Random) -> dict[str, list[str]]:
    """Return keys with spellings of values of which one must be met."""
    keys = draw.sample(KEYS, draw.choice([1, 1, 2]))
    return {key: [draw.choice(draw.choice(MEANINGS[key])) for _ in range(draw.choice([1, 2]))] for key in keys}


@pytest.mark.parametrize("seed", range(150))
def test_generated_conditions_meet_the_cells_that_have_their_values(seed: int, tmp_path: Path) -> None:
    """A condition sets a mark on exactly the cells that have its values; one that names a value of no cell is an error."""
    draw = random.Random(seed)
    axes, cells = generated(draw)
    when = condition(draw)
    text = ", ".join(f"{key}: [{', '.join(texts)}]" for key, texts in when.items())
    path = tmp_path / "g.yaml"
    path.write_text(
        "recipe: {protocol: {ratio: 1/4}, network: {name: deeplabv3plus, backbone: tiny}}\n"
        f"axes:\n  {axes}\noverrides:\n  - {{when: {{{text}}}, set: {{optimizer.warmup: 7}}}}\n"
    )
    grid, wanted = read_grid(path), {key: [meaning(key, one) for one in texts] for key, texts in when.items()}
    marks = [all(cell.get(key) in places for key, places in wanted.items()) for cell in cells]
    points = list(expand(grid, "g", {}, replaced=True))
    assert [point.raw.get("optimizer", {}).get("warmup") == 7 for point in points] == marks
    in_vain = any(all(cell.get(key) != place for cell in cells) for key, places in wanted.items() for place in places)
    if in_vain or not any(marks):
        with pytest.raises(BenchError, match=r"g: overrides\.0\.when.*(matches no cell|no cell of the grid has)"):
            list(expand(grid, "g", {}))
    else:
        assert len(list(expand(grid, "g", {}))) == len(cells)


AXES = {"method": ["supervised", {"name": "classmix", "label": "1.10"}, {"name": "classmix", "mix": "cutmix"}]}
PARTS = [
    ("1.10", [0, 1, 0]),
    ("classmix", [0, 1, 1]),
    (["supervised", "1.10"], [1, 1, 0]),
    ({"name": "classmix", "label": "1.10"}, [0, 1, 0]),
    ({"classmix": {"mix": "classmix"}}, [0, 1, 0]),
    ({"mix": "cutmix"}, [0, 0, 1]),  # options alone
    ({"mix": "classmix", "threshold": 0.97}, [0, 1, 0]),
]


def marked(when: Raw, axes: Raw, sets: Raw | None = None, replaced: bool = False) -> list[int]:
    """Return which cells an override with a condition changes."""
    grid = Grid.model_validate({"axes": axes, "overrides": [{"when": when, "set": {"optimizer.warmup": 7}}]})
    points = expand(grid, "g", sets or {}, replaced)
    return [int(point.raw.get("optimizer", {}).get("warmup") == 7) for point in points]


@pytest.mark.parametrize(("wanted", "met"), PARTS)
def test_parts_are_met_by_name_by_label_and_by_options(wanted: Any, met: list[int]) -> None:
    assert marked({"method": wanted}, AXES) == met


def test_an_override_of_a_nested_option_does_not_reach_other_cells() -> None:
    axes = {"dataset": [{"name": "synthetic", "counts": {"train": 40}}], "method": ["supervised", "classmix"]}
    when = {"when": {"method": "supervised"}, "set": {"dataset.counts.train": 50}}
    points = list(expand(Grid.model_validate({"axes": axes, "overrides": [when]}), "g", {}))
    assert [point.raw["dataset"]["counts"]["train"] for point in points] == [50, 40]
    assert axes["dataset"] == [{"name": "synthetic", "counts": {"train": 40}}]


def test_an_option_that_is_not_valid_yet_is_compared_as_it_is_written() -> None:
    """`padded` needs a size, which a later override gives."""
    overrides = [
        {"when": {"evaluation.mode": "padded", "evaluation.every": 200.0}, "set": {"evaluation.size": [96, 96]}},
        {"when": {"evaluation.size": [96, 96.0]}, "set": {"optimizer.warmup": 7}},
    ]
    recipe = {"evaluation": {"mode": "padded", "every": 200}}
    (point,) = expand(Grid.model_validate({"recipe": recipe, "overrides": overrides}), "g", {})
    assert point.raw["optimizer"]["warmup"] == 7


@pytest.mark.parametrize(
    ("when", "sets", "replaced", "message"),
    [
        (
            {"method": "clasmix"},
            {},
            False,
            r"'clasmix' matches no cell of the grid \(did you mean 'classmix'\?\); cells have",
        ),
        ({"method": "clasmix"}, {"schedule.iterations": 2}, False, "matches no cell"),  # set after the overrides
        ({"method": "clasmix"}, {}, True, ""),  # an axis may have been replaced by what the condition isn't about
        (
            {"optimizer.lrr": 1},
            {},
            True,
            r"optimizer\.lrr: no cell of the grid has this key \(did you mean 'optimizer\.lr'",
        ),
        (
            {"method.mixx": "none"},
            {},
            False,
            r"method\.mixx: no cell of the grid has this key \(did you mean 'method\.mix'",
        ),
        (
            {"evaluation.size": [5, 6]},
            {},
            False,
            r"evaluation\.size \[5, 6\] matches no cell of the grid; cells have null",
        ),
        (
            {"optimizer.nesterov": [True, "on"]},
            {},
            False,
            r"nesterov 'on' matches no cell of the grid; cells have true",
        ),
        ({"seed": [0, 1]}, {}, False, "seed 1 matches no cell of the grid; cells have 0"),
        ({"method": None}, {}, False, "method None matches no cell"),
        ({"method": []}, {}, False, "matches no cell"),
    ],
)
def test_what_stands_for_nothing_is_named(when: Raw, sets: Raw, replaced: bool, message: str) -> None:
    if not message:
        assert marked(when, AXES, sets, replaced) == [0, 0, 0]
        return
    with pytest.raises(BenchError, match=rf"g: overrides\.0\.when.*{message}"):
        marked(when, AXES, sets, replaced)


def test_set_values_are_held_against_the_recipe_by_what_they_mean() -> None:
    recipe = {"optimizer": {"lr": 0.01}, "method": {"name": "classmix"}, "protocol": {"ratio": "1/4"}}
    grid = Grid.model_validate({"recipe": recipe, "axes": {"seed": [0, 1]}})
    same = {"optimizer.lr": "1e-2", "schedule.iterations": 40000.0, "method": {"name": "classmix", "mix": "classmix"}}
    assert deviations(grid, {**same, "protocol": {"ratio": 0.25}, "seed": [0.0]}, [{"seed": 0.0}])[0] == []
    found, _ = deviations(grid, {"optimizer.lr": 1, "method": "supervised"}, [{"seed": 0}])
    assert [deviation.key for deviation in found] == ["optimizer.lr", "method"]


# -- --only ----------------------------------------------------------------------------------------------------------------


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


ROWS = [
    {
        "method": label,
        "labels": budget,
        "optimizer.lr": "0.001",
        "optimizer.clip_norm": norm,
        "size": "[64, 64]",
        "seed": 0,
    }
    for label, budget, norm in (
        ("a, b", "1/4", "None"),
        ("1.10", "16", "5.0"),
        ("1.1", "full", "5.0"),
        ("on", "16", "1.0"),
    )
]


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("optimizer.lr=1e-3", [0, 1, 2, 3]),
        ("optimizer.lr=1.0e-3,optimizer.clip_norm=5", [1, 2]),
        ("optimizer.clip_norm=null", [0]),
        ("optimizer.clip_norm=[null, 1]", [0, 3]),
        ("size=[64,64],labels=1/4", [0]),
        ("seed=0.0,method=1.10", [1]),
        ("method=1.1", [2]),  # a label is a name: 1.10 is another one
        ("method=on", [3]),
        ('method="a, b"', [0]),
        ("'method=a, b',seed=0", [0]),
        ("method=[on, 1.10]", [1, 3]),
        ("", [0, 1, 2, 3]),
    ],
)
def test_only_of_rows_that_have_labels_alone(only: str, found: list[int]) -> None:
    assert [ROWS.index(row) for row in matching(ROWS, dict, only)] == found


def test_only_says_what_is_wrong(tmp_path: Any) -> None:
    cells = plan(tmp_path).cells
    for only, message in (("optimizer.lrr=1", "optimizer.lr"), ("optimizer.lr=7", "0.05"), ('method="a, b', "quote")):
        with pytest.raises(BenchError, match=message):
            matching(cells, lambda planned: planned.coords, only, lambda planned: planned.cell)
