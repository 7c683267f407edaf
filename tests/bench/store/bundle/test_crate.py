"""A bundle as a Research Object Crate: every file is described once, every reference leads somewhere, and it merges."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.store.bundle import crate
from bench.store.bundle.merge import merge
from bench.store.bundle.write import write_bundle
from tests.bench.store.bundle.conftest import Lab


def references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from references(one)
    elif isinstance(node, dict):
        if node.keys() == {"@id"}:
            yield node["@id"]
        for value in node.values():
            yield from references(value)


def test_a_crate_describes_every_file(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked(licence=crate.licence("CC-BY-4.0")))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        made = json.loads(archive.read("ro-crate-metadata.json"))
        members = {name: archive.read(name) for name in archive.namelist() if name != "ro-crate-metadata.json"}
    graph = {entity["@id"]: entity for entity in made["@graph"]}
    assert len(graph) == len(made["@graph"])  # each once
    files = {name for name, entity in graph.items() if entity["@type"] == "File"}
    assert files == members.keys()
    for name in files - {"manifest.json"}:  # that one has the hash of this file
        of = (graph[name]["sha256"], graph[name]["contentSize"])
        assert of == (hashlib.sha256(members[name]).hexdigest(), str(len(members[name])))
    outside = {"https://w3id.org/ro/crate/1.1", "http://schema.org/CompletedActionStatus"}
    assert set(references(made["@graph"])) <= {*graph, *outside, "http://schema.org/FailedActionStatus"}
    root = graph[graph["ro-crate-metadata.json"]["about"]["@id"]]
    assert {"name", "description", "datePublished", "license", "hasPart"} <= root.keys()  # what version 1.1 requires
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    states = {e["result"]["@id"]: e["actionStatus"]["@id"][18:-12] for e in graph.values() if "actionStatus" in e}
    ended = ("Completed", "Completed", "Failed")
    assert states == {f"runs/{run.id}/": state for run, state in zip(lab.runs[:3], ended, strict=True)}


def test_a_crate_merges_like_any_bundle(lab: Lab, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zip", lab.asked(licence="https://example.org/terms"))
    merged = merge(tmp_path / "a.zip", tmp_path / "other")
    assert len(merged.new) == 3 and not merged.kept


def test_a_licence_is_an_identifier_or_an_address() -> None:
    assert crate.licence("https://example.org/terms") == "https://example.org/terms"
    for wrong in ("my own terms", "../x", "https://a b", ""):
        with pytest.raises(BenchError, match="name the results' licence"):
            crate.licence(wrong)
