"""All labels."""

from __future__ import annotations

from bench import registry
from bench.config import Config
from datasets.protocols.full import Full
from tests.datasets.made import Listed


def test_everything_twice() -> None:
    split = Full(Config()).split(Listed(["b", "a"]), seed=3)
    assert split.labelled == split.unlabelled == ("b", "a")
    assert Full(Config()).title == "full"
    assert registry.get("protocol", "full") is Full and Full.shorthand is None
