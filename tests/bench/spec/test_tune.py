"""What is searched: values by hand, draws that more trials extend, and sections that are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench import registry
from bench.errors import BenchError
from bench.plan.cells import resolve_grid
from bench.plan.request import Request
from bench.spec.messages import validate
from bench.spec.tune import Range, Tune, rung_steps, settings, space_of
from tests.conftest import GRID

SELECT = {"images": 2}


def tune(**options: Any) -> Tune:
    return validate(Tune, {"trials": 4, "select": SELECT, **options}, "tune")


@pytest.mark.parametrize(
    ("span", "share", "value"),
    [
        ({"log_uniform": [0.001, 0.1]}, 0.0, 0.001),
        ({"log_uniform": [0.001, 0.1]}, 0.5, 0.01),
        ({"log_uniform": [0.001, 0.1]}, 0.75, 0.0316),
        ({"uniform": [1, 3]}, 0.25, 1.5),
        ({"integer": [1, 3]}, 0.34, 2),
        ({"integer": [1, 3]}, 0.999, 3),
        ({"choice": ["a", "b", "c"]}, 0.34, "b"),
        ({"choice": [0.7, 0.97]}, 0.999, 0.97),
    ],
)
def test_values_by_hand(span: dict[str, Any], share: float, value: Any) -> None:
    assert validate(Range, span, "x").at(share) == value


def test_draws_are_a_function_of_seed_method_and_trial() -> None:
    space = {"a": validate(Range, {"uniform": [0, 1]}, "x"), "b": validate(Range, {"choice": [1, 2]}, "x")}
    few, many = tune(trials=4), tune(trials=64)
    assert [settings(few, space, "m", i) for i in range(4)] == [settings(many, space, "m", i) for i in range(4)]
    assert settings(many, space, "m", 0) == {}
    drawn = {method: [settings(many, space, method, i)["a"] for i in range(1, 64)] for method in ("m", "n")}
    assert len(set(drawn["m"])) > 60 and drawn["m"] != drawn["n"]
    assert settings(tune(seed=1), space, "m", 1) != settings(few, space, "m", 1)


def test_draws_fill_the_space_evenly() -> None:
    """Of 64 Sobol points each eighth of an axis has eight, up to the shift; independent draws have 8 ± 2.6."""
    space = {"a": validate(Range, {"uniform": [0, 1]}, "x"), "b": validate(Range, {"uniform": [0, 1]}, "x")}
    section = tune(trials=65)
    points = np.array([list(settings(section, space, "m", i).values()) for i in range(1, 65)])
    for axis in points.T:
        counts = Counter((axis * 8).astype(int).tolist())
        assert all(7 <= counts[i] <= 9 for i in range(8))


def test_a_methods_own_ranges_are_narrowed_replaced_or_taken_away() -> None:
    classmix, supervised = registry.get("method", "classmix"), registry.get("method", "supervised")
    assert list(space_of(tune(), classmix, "g")) == ["method.threshold", "method.unsupervised_weight"]
    given = {
        "method.threshold": {"choice": [0.9]},
        "method.unsupervised_weight": None,
        "optimizer.lr": {"uniform": [1, 2]},
    }
    found = space_of(tune(space=given), classmix, "g")
    assert {key: str(span) for key, span in found.items()} == {
        "method.threshold": "one of 0.9",
        "optimizer.lr": "1 to 2",
    }
    assert list(space_of(tune(space=given), supervised, "g")) == ["optimizer.lr"]
    assert settings(tune(), {}, "supervised", 3) == {}


@pytest.mark.parametrize(
    ("rungs", "iterations", "every", "steps"),
    [
        ((0.25, 1.0), 1000, 50, [250, 1000]),
        ((0.1, 0.5, 1.0), 1000, 300, [300, 600, 1000]),
        ((0.25, 1.0), 90, 40, [40, 90]),
    ],
)
def test_rungs_fall_on_evaluations(rungs: tuple[float, ...], iterations: int, every: int, steps: list[int]) -> None:
    assert rung_steps(tune(halving={"rungs": rungs}), iterations, every) == steps
    assert rung_steps(tune(), iterations, every) == [iterations]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"select": {"on": "val"}}, "flatters whoever tries most"),
        ({"select": {"on": "holdout"}}, "holdout needs images"),
        ({"select": {"on": "val-as-in-the-papers", "images": 2}}, "val takes none"),
        ({"space": {"optimizer.lr": {"uniform": [2, 1]}}}, "lowest, highest"),
        ({"space": {"optimizer.lr": {"log_uniform": [0, 1]}}}, "above 0"),
        ({"space": {"optimizer.lr": {"uniform": [1, 2], "choice": [1]}}}, "one of log_uniform"),
        ({"space": {"optimizer.lr": {"choice": []}}}, "at least one value"),
        ({"halving": {"rungs": [0.5]}}, "rungs rise"),
        ({"halving": {"rungs": [0.5, 0.25, 1.0]}}, "rungs rise"),
        ({"halving": {"keep": 1.0}}, "less than 1"),
        ({"trials": 0}, "greater than 0"),
        ({"seeds": []}, "seeds"),
    ],
)
def test_sections_that_make_no_sense(options: dict[str, Any], why: str) -> None:
    with pytest.raises(BenchError, match=why):
        tune(**options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"seeds": [1]}, "tune.seeds: 1 is a reported seed too"),
        (
            {"space": {"method.treshold": {"choice": [1]}}},
            r"no method of the grid has it \(did you mean 'method.threshold'",
        ),
        ({"space": {"method": {"choice": ["reco"]}}}, "can't be searched"),
        ({"space": {"seed": {"integer": [0, 9]}}}, "can't be searched"),
        ({"space": {"optimizer.lr": {"choice": ["fast"]}}}, "optimizer.lr"),
        ({"space": {"optimiser.lr": {"choice": [1]}}}, "optimiser"),
        ({"select": {"images": 99}}, "holdout 99"),
        ({"halving": {"rungs": [0.01, 0.02, 1.0]}}, "fall on evaluations"),
    ],
)
def test_sections_that_do_not_fit_the_grid(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BenchError, match=why) as caught:
        resolve_grid(Request(str(grid(tmp_path, options)), (), (), tmp_path / "store"))
    assert "\n" not in str(caught.value)


def test_a_key_that_is_an_axis_too(tmp_path: Path) -> None:
    path = grid(tmp_path, {"space": {"optimizer.lr": {"uniform": [1, 2]}}})
    content = yaml.safe_load(path.read_text())
    content["axes"]["optimizer.lr"] = [0.1, 0.2]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BenchError, match=r"tune.space.optimizer.lr: is an axis of the grid too"):
        resolve_grid(Request(str(path), (), (), tmp_path / "store"))


def grid(folder: Path, options: dict[str, Any]) -> Path:
    content = yaml.safe_load(GRID)
    content["axes"] |= {"method": ["supervised", "classmix"], "protocol": [{"few_labels": 6}], "seed": [0, 1]}
    content["tune"] = {"trials": 3, "select": SELECT, **options}
    path = folder / "tuned.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
