"""YAML files as people write them: words, names, merge keys, and files that are no grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.plan.cells import resolve_grid
from bench.plan.request import Request, parse_sets
from bench.spec.grid import expand, read_grid
from bench.yaml import parse_yaml

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
        ("title: a\nselect: !!int many\n", "g.yaml, line 2: select: 'many' is no int"),
        ("axes: {<<: 5}\n", "g.yaml, line 1: axes: '<<' merges a mapping, or a list of mappings"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "g.yaml, line 2: b: the key '<<' is given twice"),
        ("? [a]\n: 1\n", "g.yaml, line 1: a key must be a name"),
        ("select: &a [*a]\n", "g.yaml, line 1: select.0: an anchor within itself"),
        ("title: &a [*a]\n", "g.yaml, line 1: title.0: an anchor within itself"),
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


def laughs(key: str) -> str:
    """Each line holds the one before ten times: 10^20 values in 20 lines."""
    lines = [f"{key}: &a0 [x]"]
    return "\n".join([*lines, *(f"k{i}: {{{key}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 21))])


HOSTILE: list[tuple[str, str]] = [
    ("title: x\nselect: !!int abc\n", ", line 2: select: 'abc' is no int"),
    ("select: !!bool x\n", ", line 1: select: 'x' is no bool"),
    ("select: !!float ''\n", ", line 1: select: '' is no float"),
    ("select: !!null no\n", ", line 1: select: 'no' is no null"),
    ("select: !!int [1]\n", ", line 1: select: the tag !!int is none that is known for such a value"),
    ("axes: {seed: !!timestamp 2026-13-45}\n", ", line 1: axes.seed: the tag !!timestamp is none"),
    ("axes: !!set {a, b}\n", ", line 1: axes: the tag !!set is none"),
    ("axes: !!map [a]\n", ", line 1: axes: the tag !!map is none"),
    ("axes: !!omap [a: 1]\n", ", line 1: axes: the tag !!omap is none"),
    ("title: !!binary ////\n", ", line 1: title: the tag !!binary is none"),
    (
        "title: !!python/object/apply:os.system [id]\n",
        ", line 1: title: the tag !!python/object/apply:os.system is none",
    ),
    ("title: !mine a\n", ", line 1: title: the tag !mine is none"),
    ('title: "a\\ud800b"\n', ", line 1: title: 'a\\ud800b' holds half a character, #xd800"),
    ('title: "\\UFFFFFFFF"\n', ": "),
    (
        "axes: {seed: [1000000000000000000000000000000]}\n",
        ", line 1: axes.seed.0: 1000000000000000000000000000000 is beyond 64",
    ),
    ("select: " + 5000 * "9", f", line 1: select: {80 * '9'}… is beyond 64 bits"),
    ("select: 1e400\n", ", line 1: select: 1e400 is larger than a number can be"),
    ("title: " + 9000 * "x", f", line 1: title: a text of 9,000 characters, of at most 8,192: '{79 * 'x'}…"),
    (9000 * "x" + ": 1", ", line 1: "),
    ("title: " + (1 << 18) * "x", ": more than 256 KiB"),
    (41 * "[", ", line 1: more than 40 lists or mappings within each other"),
    (100_000 * "[", ", line 1: more than 40 lists or mappings within each other"),
    (50_000 * "{a: ", ", line 1: more than 40 lists or mappings within each other"),
    (100_000 * "- ", ", line 1: more than 40 lists or mappings within each other"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_yaml_is_one_short_line_with_its_key(text: str, message: str) -> None:
    with pytest.raises(BenchError) as error:
        parse_yaml(text, "g.yaml")
    assert str(error.value).startswith(f"g.yaml{message}")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


CHAIN = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (laughs("axes"), "more than 50,000 values"),
        (laughs("title"), "more than 50,000 values"),  # a list of names is built anew wherever it stands
        (CHAIN, "more than 40 lists or mappings within each other"),
    ],
)
def test_anchors_are_followed_within_bounds(text: str, what: str) -> None:
    with pytest.raises(BenchError, match=rf"^g, line \d+: \S+: {what}, anchors followed$"):
        parse_yaml(text, "g")


def test_many_values_are_refused_before_they_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.yaml.MAX_VALUES", 1000)
    assert len(parse_yaml(f"[{999 * '1,'}]", "g")) == 999
    with pytest.raises(BenchError, match="more than 1,000 values, anchors followed"):
        parse_yaml(f"[{1000 * '1,'}]", "g")
    with pytest.raises(BenchError, match=r"^g, line 1: more than 1,000 values$"):
        parse_yaml(f"[{2000 * '1,'}]", "g")


def test_explicit_tags_that_are_known_are_read() -> None:
    text = "a: !!int 0x10\nb: !!float 3\nc: !!str 3\nd: !!bool true\ne: !!null ~\nf: !!seq [1]\ng: !!map {a: .inf}"
    assert parse_yaml(text, "g") == {
        "a": 16,
        "b": 3.0,
        "c": "3",
        "d": True,
        "e": None,
        "f": [1],
        "g": {"a": float("inf")},
    }
    assert parse_yaml("{a: 18446744073709551615, b: -18446744073709551615}", "g") == {"a": 2**64 - 1, "b": 1 - 2**64}


def test_a_long_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of holes
    with pytest.raises(BenchError, match="more than 256 KiB"):
        read_grid(path)


@pytest.mark.parametrize(
    "key", ["select", "recipe", "recipe.method", "recipe.schedule", "axes.optimizer.lr", "resources"]
)
@pytest.mark.parametrize(
    "value", [8000 * "x", [8000 * "x"], {8000 * "x": 1}, list(range(3000))], ids=["text", "list", "key", "many"]
)
def test_messages_show_the_first_characters_of_a_long_value(tmp_path: Path, key: str, value: Any) -> None:
    path, where = tmp_path / "g.yaml", key.split(".", 1)
    content: Any = {where[0]: {where[1]: [value] if where[0] == "axes" else value}} if len(where) == 2 else {key: value}
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError) as error:
        resolve_grid(Request(str(path)))
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000
