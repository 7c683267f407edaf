"""Lists of labelled images are recognised by their hash, and figures of another list aren't compared with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.report import records, tables
from bench.report.papers import families, published
from bench.report.papers.families import OWN, Family, digest, known, of_split
from bench.spec.grid import Published
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

IDS = [f"2007_{n:06d}" for n in range(732)]
MINE = Family("voc", 732, "mine", "", ("A", "B", "C", "D"))
OTHER = Family("voc", 732, "other", "", ("E",))


def test_the_hash_ignores_order_folders_and_the_suffix_of_images() -> None:
    expected = hashlib.sha256(b"a_1\nb_2").hexdigest()[:12]
    assert digest(["b_2", "a_1"]) == digest(["x/b_2_leftImg8bit", "train/a_1"]) == expected
    assert digest(["a_1"]) != expected


def test_the_table_holds_the_lists_that_papers_mix() -> None:
    by_size: dict[tuple[str, int], set[str]] = {}
    for family in known().values():
        by_size.setdefault((family.dataset, family.images), set()).add(family.name)
        assert family.repositories and len(family.sha256) == 12
    assert by_size["voc", 732] == {"classic", "cps"}
    for images in (186, 372, 744, 1488):
        assert by_size["cityscapes", images] >= {"cps", "u2pl"}
    assert known()["124b0aab2fcd"].images == 92
    assert "U2PL" in known()["8c23014f5128"].repositories and "PS-MT" in known()["1c27978cdf51"].repositories
    # ST++ ships three draws of a budget.
    assert by_size["voc", 92] == {"classic", "stpp-1", "stpp-2"}


def keep(store: Path, sha256: str, labelled: list[str]) -> None:
    (store / ".splits").mkdir(parents=True, exist_ok=True)
    (store / ".splits" / f"{sha256}.json").write_text(json.dumps({"labelled": labelled}))


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lists of one size: one is known here."""
    monkeypatch.setattr(families, "known", lambda: {digest(IDS): MINE, "0" * 12: OTHER})


def test_a_split_in_the_store(tmp_path: Path, two: None) -> None:
    keep(tmp_path, "a", IDS[::-1])
    keep(tmp_path, "b", IDS[:-1])
    assert of_split(tmp_path, "a") is MINE
    assert of_split(tmp_path, "b") is OWN
    assert of_split(tmp_path, "missing") is None
    (tmp_path / ".splits" / "c.json").write_text("[")
    assert of_split(tmp_path, "c") is None


def table(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str, **figure: Any) -> Any:
    shared = {"dataset": "voc", "method": "A", "miou": 50.0, "provenance": "authors", "source": "s", "address": "a"}
    content = {"key": "p", "title": "P", "figures": [{**shared, **figure}]}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    for seed in range(3):
        run = store.plan("a", budget, seed, protocol="files", dataset="voc")
        store.done(run, 50.0 + seed / 10, split_sha256="a" * 64, labelled_images=732)
    asked = Published.model_validate({"papers": ["p"], "methods": {"a": ["A"]}})
    summary = Summary(name="g", published=asked, cells=[c.model_copy(update={"facts": {}}) for c in store.cells])
    return tables.build(records.load(store.path, store.cells), summary)


@pytest.mark.parametrize(
    ("ids", "family", "verdict"),
    [
        (IDS, "mine", "reproduced"),
        (IDS, "other", "protocol differs"),
        (IDS[1:], "other", "protocol differs"),
        (IDS, None, "reproduced"),
        (None, "other", "reproduced"),  # nothing is known of the list
    ],
)
def test_only_figures_of_the_same_list_get_a_verdict(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: None, ids: Any, family: Any, verdict: str
) -> None:
    if ids:
        keep(store.path, "a" * 64, ids)
    found = table(store, tmp_path, monkeypatch, "732", protocol="files", labels="732", split_family=family)
    assert found.sections[0].rows[0].cells[0].facts["verdict"] == verdict
    if verdict == "protocol differs":
        have = "mine" if ids is IDS else "own draw"
        assert f"Protocol differs (split_family {have}, not other): all cells." in found.notes
    named = "Labelled images of 732: the list 'mine' of A, B, C and 1 more; other lists of this size: other."
    assert (named in found.notes) == (ids is IDS)


def test_an_imported_list_finds_figures_that_name_it_by_its_fraction(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: None
) -> None:
    keep(store.path, "a" * 64, IDS)
    found = table(
        store, tmp_path, monkeypatch, "my list", protocol="ratio", labels="1/2", images=732, split_family="mine"
    )
    assert found.sections[0].rows[0].cells[0].facts["verdict"] == "reproduced"
