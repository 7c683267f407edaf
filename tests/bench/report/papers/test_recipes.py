"""A paper's recipe against the cells of grids: the shipped one is the paper's, and a copy edited by hand is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.data.roots import DataRoots
from bench.plan.cells import Resolver
from bench.report import records, tables
from bench.report.papers.published import FOLDER, load
from bench.spec.cell import PARTS, SECTIONS, Cell
from bench.spec.facts import facts, said
from bench.spec.grid import Grid, expand, grid_path, read_grid
from bench.spec.messages import validate
from bench.store.summary import Summary
from tests.bench.report.conftest import Store

RECO = ["reco-voc", "reco-cityscapes", "reco-sun"]
METHODS = ("supervised", "classmix", "reco")


def cells(grid: Grid, where: str) -> Iterator[Cell]:
    """Yield a grid's cells without their splits, which need the data."""
    resolver = Resolver(where, DataRoots.parse(()))
    for point in expand(grid, where, {}):
        parts: dict[str, Any] = {kind: resolver.part(kind, point.raw[kind]) for kind in PARTS}
        parts["network"] = resolver.network(parts["network"], parts["method"])
        sections: dict[str, Any] = {
            name: validate(model, point.raw.get(name, {}), name) for name, model in SECTIONS.items()
        }
        yield Cell(**parts, **sections, split_sha256="")


def table(store: Store, path: Path) -> Any:
    """Return the table of a grid file, two runs done of each cell of the paper's own methods."""
    grid = read_grid(path)
    known: dict[int, dict[str, str]] = {}
    for seed, cell in enumerate(cells(grid, str(path))):
        place = {"protocol": cell.protocol.name, "dataset": cell.dataset.name, "network": "resnet101"}
        if cell.method.name in METHODS:
            for n in range(2):  # two runs a cell
                run = store.plan(cell.method.name, cell.title, 10 * seed + n, **place)
                store.done(run, 50.0 + n / 100)
                known[len(store.cells) - 1] = facts(cell)
    for index, found in known.items():
        store.change(index, facts=found)
    summary = Summary(name="g", published=grid.published, cells=store.cells)
    return tables.build(records.load(store.path, store.cells), summary)


def verdicts(found: Any) -> set[str]:
    return {cell.facts["verdict"] for row in found.sections[0].rows for cell in row.cells if cell.planned}


@pytest.mark.parametrize("name", RECO)
def test_the_shipped_grids_are_the_papers_recipe(name: str, store: Store) -> None:
    found = table(store, grid_path(name))
    assert verdicts(found) <= {"differs", "reproduced", "not settled", "not published"}
    compared = [c.facts for row in found.sections[0].rows for c in row.cells if c.facts["published_paper"] == "reco"]
    assert len(compared) >= 2
    assert {(c["published_selection"], c["verdict_rule"], c["evaluations"]) for c in compared} == {
        ("best-on-val", "best", 40)
    }
    text = "Selection of the published figures: "
    assert any(
        note.startswith(text) and "best of 200" in note and note.endswith("evaluated 40 times.") for note in found.notes
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr: 2.5e-3", "lr: 0.1", "optimizer.lr 0.1, not 0.0025"),
        ("labelled: 10, unlabelled: 10", "labelled: 4, unlabelled: 10", "schedule.batch 4+10, not 10+10"),
        ("scale: [0.5, 1.5]", "scale: [0.5, 2.0]", "augmentation.scale 0.5, 2, not 0.5, 1.5"),
        ("weight_decay: 5.0e-4", "weight_decay: 5.0e-4, clip_norm: 1.0", "optimizer.clip_norm 1, not none"),
    ],
)
def test_a_recipe_edited_by_hand_gets_no_plain_verdict(
    old: str, new: str, words: str, store: Store, tmp_path: Path
) -> None:
    """Nothing is given by --set: the file itself is another one."""
    text = grid_path("reco-voc").read_text()
    assert old in text
    copy = tmp_path / "mine.yaml"
    copy.write_text(text.replace(old, new))
    found = table(store, copy)
    by_paper = {
        c.facts["published_paper"]: c.facts["verdict"]
        for row in found.sections[0].rows
        for c in row.cells
        if row.keys["method"] == "classmix"  # only ReCo's authors print it
    }
    assert by_paper["reco"] == "recipe differs"
    assert any(note.startswith(f"Recipe differs ({words})") for note in found.notes)


def test_a_papers_recipe_names_what_cells_have() -> None:
    """A misspelt key would never differ."""
    known = {key for name in RECO for cell in cells(read_grid(grid_path(name)), name) for key in facts(cell)}
    for path in FOLDER.glob("*.yaml"):
        for figure in load([path.stem])[0].figures:
            assert set(figure.recipe) <= known, path.stem


def test_facts_in_words() -> None:
    assert [said(value) for value in (2.5e-3, 0.0025, 1, 1.0, True, None, "sgd", [0.5, 1.5], (1, 2))] == [
        *("0.0025", "0.0025", "1", "1", "true", "none", "sgd", "0.5, 1.5", "1, 2"),
    ]


def test_classmix_has_its_authors_recipe_but_for_what_no_option_gives() -> None:
    found = [
        facts(cell)
        for cell in cells(read_grid(grid_path("classmix-cityscapes")), "g")
        if cell.method.name == "classmix"
    ]
    figures = [figure for figure in load(["classmix"])[0].figures if figure.recipe]
    assert sorted(figure.labels for figure in figures) == ["1/2", "1/30", "1/4", "1/8"]
    for have in found:
        for figure in figures:
            named = {key: said(value) for key, value in figure.recipe.items()}
            names = ("backbone", "output_stride", "crop", "iterations", "evaluation", "network", "weights")
            named |= {name: str(getattr(figure, name)) for name in names}
            assert named.keys() <= have.keys()  # each of them is compared
            differing = {key: have[key] for key, value in named.items() if have[key] != value}
            assert differing == {"network": "deeplabv3plus", "weights": "imagenet", "augmentation": "reco"}
