"""Comparing two splits, by the sets of their ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.data.overlap import compare_splits, find_split
from bench.data.splits import keep_split
from bench.errors import BenchError


def made(labelled: str, dataset: str = "voc", **more: Any) -> dict[str, Any]:
    base = {"dataset": dataset, "protocol": {"name": "few_labels"}, "title": "3", "seed": 0, "unlabelled": []}
    return {**base, "labelled": list(labelled), "labelled_high_quality": 2, "sha256": f"ab{labelled}", **more}


def test_overlap_by_hand() -> None:
    found = compare_splits(made("abcd"), made("cdefg"))
    assert (found["both"], found["only_a"], found["only_b"], found["jaccard"]) == (2, 2, 3, 2 / 7)
    assert found["ids_in_both"] == ["c", "d"]
    assert found["high_quality"] == [2, 2]
    assert found["same_given"] is None
    assert compare_splits(made("ab", given="1%"), made("ab", given="5%"))["same_given"] is False
    with pytest.raises(BenchError, match="different datasets: voc and camvid"):
        compare_splits(made("a"), made("a", "camvid"))


def test_a_split_is_found_by_file_and_by_the_beginning_of_its_hash(tmp_path: Path) -> None:
    keep_split(tmp_path, made("abc"))
    keep_split(tmp_path, made("xyz"))
    (tmp_path / "m.json").write_text(json.dumps(made("q")))
    assert find_split(tmp_path, str(tmp_path / "m.json"))["labelled"] == ["q"]
    assert find_split(tmp_path, "abx")["labelled"] == ["x", "y", "z"]
    for name, message in (("ab", "2 kept splits begin so"), ("c", "no such manifest"), ("../m", "no such manifest")):
        with pytest.raises(BenchError, match=message):
            find_split(tmp_path, name)
    (tmp_path / "m.json").write_text("[1]")
    with pytest.raises(BenchError, match="not the manifest of a split"):
        find_split(tmp_path, str(tmp_path / "m.json"))
