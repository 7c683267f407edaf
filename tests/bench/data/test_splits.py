"""Comparing two splits, by the sets of their ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.data.overlap import compare_splits, find_split
from bench.data.splits import keep_split, load_split, read_manifest, split_path
from bench.errors import BenchError
from datasets.protocols.partial import Partial, PartialConfig
from datasets.split import Manifest, Split, make_manifest


def raw(labelled: str, dataset: str = "voc", **more: Any) -> dict[str, Any]:
    """Return a manifest's file as it was before there was a model of it."""
    base = {"dataset": dataset, "protocol": {"name": "few_labels"}, "title": "3", "seed": 0, "unlabelled": []}
    counts = {"labelled_images_per_class": {"sky": 1}, "labelled_high_quality": 2}
    return {**base, "labelled": list(labelled), **counts, "sha256": f"ab{labelled}", **more}


def made(labelled: str, dataset: str = "voc", **more: Any) -> Manifest:
    return Manifest.model_validate(raw(labelled, dataset, **more))


@pytest.mark.parametrize("more", [{}, {"given": "partial 1, 1%, seed 0"}, {"labelled_high_quality": None}])
def test_a_manifest_has_the_keys_that_it_always_had(tmp_path: Path, more: dict[str, Any]) -> None:
    manifest = made("ab", **more)
    assert manifest.as_json() == raw("ab", **more)
    assert manifest.split == Split(("a", "b"), (), more.get("given", ""))
    keep_split(tmp_path, manifest)
    assert json.loads(split_path(tmp_path, "abab").read_text()) == raw("ab", **more)
    assert read_manifest(split_path(tmp_path, "abab")) == manifest


def test_a_drawn_manifest_is_loaded_as_the_same_split(tmp_path: Path) -> None:
    toy = registry.get("dataset", "toy")(registry.get("dataset", "toy").Config(), tmp_path)
    protocol = Partial(PartialConfig(pixels="5%"))
    split = protocol.split(toy, 3)
    manifest = make_manifest(split, toy, "toy", protocol, {"name": "partial", "pixels": "5%"}, 3)
    assert manifest.split == split and manifest.title == "5%" and manifest.labelled_high_quality is None
    assert manifest.as_json()["given"] == split.visible_labels
    assert manifest.labelled_images_per_class["ground"] == len(split.labelled)
    keep_split(tmp_path, manifest)
    assert load_split(tmp_path, manifest.sha256) == split


@pytest.mark.parametrize("content", ["[1]", "{", "{}", "null", json.dumps({**raw("ab"), "labelled": 3})])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, content: str) -> None:
    path = split_path(tmp_path, "abab")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(BenchError, match="missing or damaged; plan the grid again"):
        load_split(tmp_path, "abab")
    with pytest.raises(BenchError, match="not the manifest of a split"):
        find_split(tmp_path, str(path))


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    keep_split(tmp_path, made("ab"))
    with pytest.raises(BenchError, match="the ids don't match the hash"):
        load_split(tmp_path, "abab")


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
    (tmp_path / "m.json").write_text(json.dumps(raw("q")))
    assert find_split(tmp_path, str(tmp_path / "m.json")).labelled == ("q",)
    assert find_split(tmp_path, "abx").labelled == ("x", "y", "z")
    for name, message in (("ab", "2 kept splits begin so"), ("c", "no such manifest"), ("../m", "no such manifest")):
        with pytest.raises(BenchError, match=message):
            find_split(tmp_path, name)
    (tmp_path / "m.json").write_text("[1]")
    with pytest.raises(BenchError, match="not the manifest of a split"):
        find_split(tmp_path, str(tmp_path / "m.json"))
