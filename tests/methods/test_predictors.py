"""What methods can predict with: names, the mean of two networks, and modes that evaluation leaves as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.registry import get
from bench.spec.messages import validate
from bench.train.evaluate import in_evaluation_mode
from methods.base import Build, Method
from methods.predictors import MeanOfTwo
from methods.rc2l import RC2LConfig
from tests.methods.fakes import CLASSES, method, network

NAMES = {
    "supervised": ["student"],
    "mean_teacher": ["teacher", "student", "mean"],
    "reco": ["teacher", "student", "mean"],
    "fixmatch": ["student"],
    "unimatch_v2": ["teacher", "student", "mean"],
    "cps": ["first", "second", "mean"],
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_the_first_one_is_scored_in_any_case(name: str, expected: list[str]) -> None:
    made = method(name)
    assert list(made.predictors) == expected
    assert made.predictor is made.predictors[expected[0]]


@pytest.mark.parametrize(("name", "which"), [("mean_teacher", "student"), ("cps", "second"), ("cps", "mean")])
def test_the_config_says_which(name: str, which: str) -> None:
    made = method(name, predict_with=which)
    assert next(iter(made.predictors)) == which
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made.eval()
    with torch.inference_mode():
        assert torch.equal(made.predictor(image), method(name).eval().predictors[which](image))


def test_an_average_is_scored_beside_its_network() -> None:
    made = method("supervised", average_decay=0.9)
    assert list(made.predictors) == ["average", "student"]
    assert made.predictors["student"] is made.get_submodule("student")


def test_the_mean_of_two() -> None:
    first, second = network(0).eval(), network(1).eval()
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = MeanOfTwo(first, second)(image)
        expected = (first(image).softmax(1) + second(image).softmax(1)) / 2
    torch.testing.assert_close(found.softmax(1), expected)
    torch.testing.assert_close(found.exp(), expected)


def test_a_plug_in_has_one() -> None:
    class Own(Method):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(3, 2, 1)

        @property
        def predictor(self) -> nn.Module:
            return self.net

    made = Own()
    assert made.predictors == {"network": made.net}
    with pytest.raises(NotImplementedError):
        _ = Method().predictor


class _Flat(get("method", "mean_teacher")):  # type: ignore[misc]
    """Overrides the predictor alone, as plug-ins did before there were several."""

    @property
    def predictor(self) -> nn.Module:
        return self.flat

    def __init__(self, config: Any, build: Build) -> None:
        super().__init__(config, build)
        self.flat = nn.Flatten()


class _Both(_Flat):
    @property
    def predictors(self) -> dict[str, nn.Module]:
        return {"own": self.student, "flat": self.flat}


def test_overriding_one_of_both_is_enough() -> None:
    made = _Flat(_Flat.Config(), Build(CLASSES, network, 0))
    assert list(made.predictors.items()) == [("network", made.flat)]
    further = _Both(_Both.Config(), Build(CLASSES, network, 0))
    assert further.predictor is further.student and list(further.predictors) == ["own", "flat"]


def test_each_module_gets_its_mode_back() -> None:
    made = method("mean_teacher", teacher_buffers="average").train()
    before = {name: module.training for name, module in made.named_modules()}
    assert len(set(before.values())) == 2  # the teacher never trains
    for predictor in made.predictors.values():
        with in_evaluation_mode(predictor):
            assert not any(module.training for module in predictor.modules())
        assert {name: module.training for name, module in made.named_modules()} == before


@pytest.mark.parametrize("options", [{"confidence": "8bit"}, {"predict_with": "mean"}])
def test_what_rc2l_has_no_use_for_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match=next(iter(options))):
        validate(RC2LConfig, options, "method")
