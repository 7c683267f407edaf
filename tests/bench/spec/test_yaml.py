"""YAML files as people write them: words, names, merge keys, and files that are no grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.plan.request import parse_sets
from bench.spec.grid import expand, read_grid
from bench.spec.yaml import parse_yaml

WORDS = [
    "on",
    "OFF",
    "yes",
    "No",
    "true",
    "1.10",
    "007",
    "1e3",
    "0x1F",
    "2026-01-01",
    "4:00:00",
    ".5",
    "1_000",
    ".inf",
    "=",
]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("key", ["label", "title", "name", "method", "protocol.title"])
def test_names_are_kept_as_they_are_written(key: str, word: str) -> None:
    assert parse_yaml(f"{{{key}: {word}, 'x': [{{{key}: [{word}, a]}}]}}", "g") == {
        key: word,
        "x": [{key: [word, "a"]}],
    }
    assert parse_yaml(f"{word}: 1", "g") == {word: 1}  # and so are keys
    assert parse_sets((f"method.label={word}", f"title={word}")) == {"method.label": word, "title": word}


@pytest.mark.parametrize(("text", "value"), [("0o17", 15), ("-0x10", -16), ("+1_000", 1000), ("12e03", 12000.0)])
def test_numbers_of_other_bases_and_exponents(text: str, value: float) -> None:
    found = parse_yaml(f"a: {text}", "g")["a"]
    assert found == value and type(found) is type(value)


def test_an_anchored_number_is_text_only_where_a_name_is_meant() -> None:
    assert parse_yaml("a: {label: &x 1.10}\nb: *x\nc: [{label: *x}]", "g") == {
        "a": {"label": "1.10"},
        "b": 1.1,
        "c": [{"label": "1.10"}],
    }


MERGES: list[tuple[str, Any]] = [
    ("{<<: [{x: 1}, {x: 2, y: 3}], z: 4}", {"x": 1, "y": 3, "z": 4}),  # the first one counts
    ("{x: 9, <<: {x: 1, y: 2}}", {"x": 9, "y": 2}),  # whatever the order
    ("{<<: {<<: {x: 1, y: 1}, y: 2}, z: 3}", {"x": 1, "y": 2, "z": 3}),
    ("{'<<': 1}", {"<<": 1}),
    ("{a: <<}", {"a": "<<"}),
]


@pytest.mark.parametrize(("text", "value"), MERGES)
def test_merge_keys(text: str, value: Any) -> None:
    assert parse_yaml(text, "g") == value


def test_a_mapping_that_is_merged_before_it_is_used_has_each_key_once() -> None:
    text = "b: {<<: &c {<<: {x: 1}, x: 2}, y: 3}\nd: *c\ne: {<<: *c, x: 4}"
    assert parse_yaml(text, "g") == {"b": {"x": 2, "y": 3}, "d": {"x": 2}, "e": {"x": 4}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "g.yaml: expected keys and values, not ['a', 'b']"),
        ("only words\n", "g.yaml: expected keys and values, not 'only words'"),
        ("title: a\n---\ntitle: b\n", "g.yaml, line 2: a second document begins here"),
        ("title: a\n\x00", "g.yaml, line 2: YAML has no character #x0000"),
        ("title: a\nselect: !!int many\n", "g.yaml: invalid literal for int"),
        ("axes: {<<: 5}\n", "g.yaml, line 1: '<<' merges a mapping, or a list of mappings"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "g.yaml, line 2: the key '<<' is given twice"),
        ("? [a]\n: 1\n", "g.yaml, line 1: a key must be a name"),
        ("select: &a [*a]\n", "g.yaml, line 1: found unconstructable recursive node"),
        ("title: &a [*a]\n", "g.yaml: an anchor within itself"),
        ("axes:\n\tseed: [0]\n", "g.yaml, line 2: found character"),
    ],
)
def test_a_file_that_is_no_grid_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(text)
    with pytest.raises(BenchError) as error:
        read_grid(path)
    assert str(error.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("label", ["~", "null", "''", "' '", "[a]", "{a: 1}"])
@pytest.mark.parametrize("axes", ["method: [{name: classmix, label: %s}]", "method.label: [%s]"])
def test_a_label_is_a_text(tmp_path: Path, axes: str, label: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(f"axes: {{{axes % label}}}\n")
    with pytest.raises(BenchError, match=r"axes\.method.*label: expected a text, not"):
        list(expand(read_grid(path), str(path), {}))
