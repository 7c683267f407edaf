"""Grids, split lists and manifests from outside: an error in one line, or what they say; never anything else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.data.roots import DataRoots
from bench.data.splits import load_split, split_path
from bench.errors import BenchError
from bench.plan.cells import Resolver
from bench.plan.request import Request, read_request
from bench.spec.grid import expand
from bench.yaml import parse_yaml
from datasets.layout.label_map import read_label_map
from datasets.protocols.files import read_split_list
from datasets.split import Split
from tests.conftest import GRID
from tests.datasets.made import Listed
from tests.fuzz.changes import TEXTS, VALUES, as_bytes, budget, changed, files, garbled, in_bounded_time

TOKENS = [
    "a",
    "b:",
    ": ",
    "- ",
    "\n",
    "  ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&x ",
    "*x",
    "<<: ",
    "!!int ",
    "!!set ",
    "'",
    '"',
    "|\n",
]
TOKENS += [
    "? ",
    "#",
    "---\n",
    "%YAML 1.1\n",
    "\t",
    "0x1F",
    "1e3",
    "~",
    "\\ud800",
    "\u2028",
    "true",
    "title",
    "axes",
    "seed: ",
]
WHOLE: dict[str, Any] = {
    **yaml.safe_load(GRID),
    "title": "a",
    "axes": {"method": ["supervised"], "protocol": [{"few_labels": 4}], "seed": [0, 1, 2]},
    "exclude": [{"seed": 1}],
    "overrides": [{"when": {"seed": 2}, "set": {"optimizer.lr": 0.1}}],
    "resources": {"threads": 1, "device": "cpu"},
    "published": {"papers": ["reco"], "methods": {"supervised": "a"}},
    "tune": {"trials": 2, "space": {"optimizer.lr": {"log_uniform": [0.1, 1]}}, "select": {"images": 2}},
}


def refuses(error: BenchError) -> None:
    """Whatever prints a message writes ends of lines as in Python's strings (``bench/text.py``)."""
    assert 0 < len(str(error)) < 4000


@budget(150)
@given(st.one_of(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join), st.text(max_size=60)))
def test_any_text_as_yaml(text: str) -> None:
    with in_bounded_time():
        try:
            value = parse_yaml(text, "g.yaml")
        except BenchError as error:
            refuses(error)
        else:
            json.dumps(value)  # nothing but JSON types


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples share."""
    return tmp_path_factory.mktemp("fuzz")


def planned(path: Path) -> None:
    """Do all of planning that needs no data."""
    asked = read_request(Request(str(path)))
    resolver = Resolver(asked.where, DataRoots())
    for point in list(expand(asked.grid, asked.where, asked.rest))[:50]:
        resolver.recipe(point.raw)


@budget(150)
@given(value=changed(WHOLE))
def test_grids(folder: Path, value: Any) -> None:
    path = folder / "g.yaml"
    path.write_bytes(as_bytes(value))
    with in_bounded_time():
        try:
            planned(path)
        except BenchError as error:
            refuses(error)


LIST = b"a.png\nx/b.jpg SegmentationClass/b.png\nc\n"
MAP = b"0: void\n1: wall\n'#0000ff': b\nname,r,g,b\nx,1,2,3\n"
KEYS = [
    "method",
    "protocol",
    "network",
    "dataset",
    "augmentation",
    "schedule.batch",
    "optimizer.lr",
    "seeds",
    "evaluation",
]
KEYS += ["evaluation.also", "schedule.epochs", "augmentation.crop_size", "loss", "dataset.size", "title", "select"]


@budget(150)
@given(key=st.one_of(st.sampled_from(KEYS), TEXTS), value=VALUES)
def test_any_value_of_any_key(folder: Path, key: str, value: Any) -> None:
    path = folder / "set.yaml"
    path.write_text(GRID)
    try:
        with in_bounded_time():
            asked = read_request(Request(str(path), sets=(f"{key}={json.dumps(value)}",)))
            for point in expand(asked.grid, asked.where, asked.rest, replaced=True):
                Resolver(asked.where, DataRoots()).recipe(point.raw)
    except BenchError as error:
        refuses(error)


@budget(150)
@given(
    content=st.one_of(
        garbled(b"a.png\nx/b.jpg SegmentationClass/b.png\nc\n"), TEXTS.map(lambda t: t.encode(errors="replace"))
    )
)
def test_split_lists(folder: Path, content: bytes) -> None:
    path, known = folder / "list.txt", ("a", "b", "c")
    path.write_bytes(content)
    with in_bounded_time():
        try:
            found = read_split_list(path, Listed(known))
        except BenchError as error:
            refuses(error)
        else:
            assert found and set(found) <= set(known)


@budget(100)
@given(
    name=st.sampled_from(["m.yaml", "m.csv", "m.txt"]),
    content=garbled(b"0: void\n1: wall\n'#0000ff': b\nname,r,g,b\nx,1,2,3\n"),
)
def test_label_maps(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with in_bounded_time():
        try:
            read_label_map(folder / name)
        except BenchError as error:
            refuses(error)


SPLIT = Split(("a", "b"), ("c",))
MANIFEST = {
    "dataset": "toy",
    "protocol": {"name": "few_labels", "labels": 2},
    "title": "2",
    "seed": 0,
    "labelled": ["a", "b"],
    "unlabelled": ["c"],
    "labelled_images_per_class": {"x": 2},
    "labelled_high_quality": None,
    "sha256": SPLIT.sha256,
}


@budget(150)
@given(content=files(as_bytes(MANIFEST)))
def test_manifests_are_what_their_hash_says(folder: Path, content: bytes) -> None:
    path = split_path(folder, SPLIT.sha256)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with in_bounded_time(), contextlib.suppress(BenchError):
        assert sorted(load_split(folder, SPLIT.sha256).labelled) == ["a", "b"]


def test_what_is_changed_is_valid_at_first(folder: Path) -> None:
    """Else nothing behind the first check would ever be reached."""
    (folder / "whole.yaml").write_bytes(as_bytes(WHOLE))
    planned(folder / "whole.yaml")
    split_path(folder, SPLIT.sha256).parent.mkdir(exist_ok=True)
    split_path(folder, SPLIT.sha256).write_bytes(as_bytes(MANIFEST))
    assert load_split(folder, SPLIT.sha256) == SPLIT
