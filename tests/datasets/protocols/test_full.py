"""All labels."""

from __future__ import annotations

from bench import registry
from datasets.protocols.full import Full
from datasets.split import ProtocolConfig
from tests.datasets.made import Listed


def test_everything_twice() -> None:
    split = Full(ProtocolConfig()).split(Listed(["b", "a"]), seed=3)
    assert split.labelled == split.unlabelled == ("b", "a")
    assert Full(ProtocolConfig()).title == "full"
    assert registry.get("protocol", "full") is Full and Full.shorthand is None
