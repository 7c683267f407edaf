"""`list keys` against the models' own JSON schema, and against the ids of cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import registry
from bench.cli.app import app
from bench.config import Config
from bench.errors import BenchError
from bench.spec.cell import PARTS, SECTIONS
from bench.spec.grid import Grid
from bench.spec.keys import Key, grid_keys


@pytest.fixture(scope="module")
def keys() -> list[Key]:
    return list(grid_keys())


def schema_keys(model: type[Config]) -> dict[str, Any]:
    """Return the default of every key of a model by pydantic's JSON schema, nested sections included."""
    schema = model.model_json_schema()
    return dict(_walk(schema, schema.get("$defs", {}), ""))


def _walk(node: Mapping[str, Any], parts: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    if "$ref" in node:
        yield from _walk(parts[node["$ref"].rpartition("/")[2]], parts, key)
    for one in node.get("anyOf", []):
        yield from _walk(one, parts, key)
    if isinstance(node.get("items"), dict):
        yield from _walk(node["items"], parts, f"{key}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from _walk(node["additionalProperties"], parts, f"{key}.NAME")
    for name, inner in node.get("properties", {}).items():
        inside = f"{key}.{name}" if key else name
        yield inside, inner.get("default", "required")
        yield from _walk(inner, parts, inside)


def test_every_key_of_the_schemas_is_there_with_its_default(keys: list[Key]) -> None:
    wanted: dict[tuple[str, str], Any] = {(key, ""): default for key, default in schema_keys(Grid).items()}
    wanted[("seed", "")] = 0
    for name, model in SECTIONS.items():
        wanted |= {(f"{name}.{key}", ""): default for key, default in schema_keys(model).items()}
    for kind in PARTS:
        for entry in registry.entries(kind):
            wanted[f"{kind}.name", entry.name] = "required"
            wanted |= {(f"{kind}.{k}", entry.name): value for k, value in schema_keys(entry.cls.Config).items()}
    found = {(key.key, key.of): key.default for key in keys}
    assert found.keys() == wanted.keys() and len(found) == len(keys)
    for place, default in found.items():
        if default and default != "required" and wanted[place] != "required":  # a section's defaults are its keys'
            meant = wanted[place]
            assert (default if isinstance(meant, str) and meant else json.loads(default)) == meant, place


def test_what_is_said_of_ids_is_what_ids_are_made_of(keys: list[Key]) -> None:
    by_key = {(key.key, key.of): key.identity for key in keys}
    for name, model in SECTIONS.items():
        identity = model().identity()
        for field in model.model_fields:
            assert (field in identity) == (by_key[f"{name}.{field}", ""] == "yes"), (name, field)
    assert {key.identity for key in keys if key.key.startswith(("resources.", "published.", "tune."))} == {"no"}
    assert by_key["dataset.data", "folder"] == "no" and by_key["method.threshold", "classmix"] == "yes"


def test_every_key_of_the_harness_says_what_it_means(keys: list[Key]) -> None:
    ours = {entry.name for kind in PARTS for entry in registry.entries(kind) if entry.plugin is None}
    assert [(key.key, key.of) for key in keys if not key.about and key.of in ours | {""}] == []
    known = {(key.key, key.of): key for key in keys}
    lr = known["optimizer.lr", ""]
    assert (lr.type, lr.default, lr.about) == ("number > 0, ≤ 10000", "0.0025", "base learning rate.")
    assert known["numerics.precision", ""].type == "fp32 | bf16"
    assert known["augmentation.jitter_p", "reco"].type == "number ≥ 0, ≤ 1"
    assert known["evaluation.also[].mode", ""].about.startswith(
        "`whole` image; `padded` to `size`"
    )  # of the class named
    for key in keys:
        assert (
            "\n" not in key.about and "class '" not in key.type and "typing" not in key.type and ":`" not in key.about
        ), key


def test_the_verb_finds_keys_by_name_and_meaning() -> None:
    shown = CliRunner().invoke(app, ["list", "keys", "--grep", "Weight_Decay"]).stdout
    assert shown.splitlines() == [
        "optimizer.weight_decay  number ≥ 0, ≤ 10000 = 0.0005; part of the id",
        "    L2 on every parameter, as the authors do.",
    ]
    found = json.loads(CliRunner().invoke(app, ["list", "keys", "--grep", "learning rate", "--json"]).stdout)["keys"]
    assert {"optimizer.lr", "optimizer.backbone_lr_factor"} <= {key["key"] for key in found}
    assert isinstance(CliRunner().invoke(app, ["list", "keys", "--grep", "no such key"]).exception, BenchError)
    assert isinstance(CliRunner().invoke(app, ["list", "methods", "--grep", "x"]).exception, BenchError)
