"""A share of the images: sizes, uniformity, nesting, and the ways to write it."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError
from scipy.stats import chisquare

from bench import registry
from bench.errors import BenchError
from datasets.protocols.ratio import Ratio, RatioConfig
from datasets.split import Split
from tests.datasets.made import Listed

IDS = [f"image{i}" for i in range(40)]


def draw(share: str, seed: int = 0, ids: list[str] = IDS) -> Split:
    return Ratio(RatioConfig(share=share)).split(Listed(ids), seed)


@pytest.mark.parametrize(
    ("images", "share", "published"),
    [
        (10582, "1/16", 662), (10582, "1/8", 1323), (10582, "1/4", 2646), (10582, "1/2", 5291),
        (2975, "1/30", 100), (2975, "1/16", 186), (2975, "1/8", 372), (2975, "1/4", 744), (2975, "1/2", 1488),
        (118287, "1/512", 232), (118287, "1/256", 463), (118287, "1/32", 3697),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_published_lists(images: int, share: str, published: int) -> None:
    """The lengths of UniMatch's, U2PL's and CPS' lists for VOC, Cityscapes and COCO."""
    if images > 20000:  # the rule alone: hashing as many ids takes a while
        assert -(-images // Fraction(share).denominator) == published
        return
    split = draw(share, ids=[str(i) for i in range(images)])
    assert (len(split.labelled), len(split.unlabelled)) == (published, images - published)


def test_a_partition_in_the_order_of_the_list() -> None:
    split = draw("1/4", seed=5)
    assert len(split.labelled) == 10
    assert sorted(split.labelled + split.unlabelled) == sorted(IDS)
    for part in (split.labelled, split.unlabelled):
        assert list(part) == [i for i in IDS if i in part]


def test_a_function_of_ids_and_seed_only() -> None:
    assert draw("1/4", 1) == draw("1/4", 1)
    assert draw("1/4", 1).sha256 == draw("1/4", 1, IDS[::-1]).sha256
    assert len({draw("1/4", seed).sha256 for seed in range(20)}) == 20


def test_nested() -> None:
    for seed in range(5):
        shares = [set(draw(share, seed).labelled) for share in ("1/40", "1/16", "1/8", "1/4", "1/2", "3/4")]
        assert all(small < large for small, large in pairwise(shares))


def test_uniform() -> None:
    """Each image is labelled equally often over seeds, and pairs as often as independence says."""
    draws = 2000
    drawn = [draw("1/4", seed).labelled for seed in range(draws)]
    count = Counter(i for labelled in drawn for i in labelled)
    assert chisquare([count[i] for i in IDS]).pvalue > 0.01
    pairs = sum("image0" in labelled and "image1" in labelled for labelled in drawn)
    expected = draws * (10 / 40) * (9 / 39)
    assert abs(pairs - expected) < 4 * expected**0.5


@pytest.mark.parametrize("value", ["1/4", "2/8", 0.25, "0.25", ".25", Fraction(1, 4)])
def test_ways_to_write_a_quarter(value: Any) -> None:
    config = RatioConfig.model_validate({"share": value})
    assert config.identity() == {"share": "1/4"}
    assert Ratio(config).title == "1/4"


def test_a_rounded_float() -> None:
    assert RatioConfig.model_validate({"share": 0.1}).share == "1/10"
    assert RatioConfig.model_validate({"share": 1 / 3}).share == "1/3"


@pytest.mark.parametrize(
    "value",
    [0, 1, 1.0, "1", "1/1", "0/4", "5/4", "1/0", "-1/4", -0.5, "x", "", None, True, float("nan"), float("inf"), "1e-9",
     "1e-99999999", "9" * 5000 + "/1", [1, 4]],
)  # fmt: skip
def test_what_is_no_share(value: Any) -> None:
    with pytest.raises(ValidationError, match="is not a share between 0 and 1"):
        RatioConfig.model_validate({"share": value})


def test_at_least_one_on_each_side() -> None:
    assert len(draw("1/1000", ids=["a", "b"]).labelled) == 1
    with pytest.raises(BenchError, match="there are 2 training images, of which it labels 2; use `full`"):
        draw("3/4", ids=["a", "b"])


def test_registered() -> None:
    assert registry.get("protocol", "ratio") is Ratio
    assert Ratio.shorthand in RatioConfig.model_fields
