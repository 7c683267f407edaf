"""``table`` and ``plot`` on a grid whose names look like markup, and where plots go."""

from __future__ import annotations

import json
from pathlib import Path

from tests.typed import bench

TITLE, METHOD, BUDGET = "[red]A title[/] [0]", "a [bold]method[/bold]", "[/] four [link=x]"


def test_names_with_brackets_are_printed_as_they_are(grid_file: Path, tmp_path: Path) -> None:
    text = grid_file.read_text().replace("[supervised]", f'[{{name: supervised, label: "{METHOD}"}}]')
    text = text.replace("{few_labels: 4}", f'{{few_labels: {{labels: 4, label: "{BUDGET}"}}}}')
    grid = tmp_path / "brackets.yaml"
    grid.write_text(f'title: "{TITLE}"\n{text}')
    store = ("--store", str(tmp_path / "store"))
    assert TITLE in bench("plan", str(grid), *store)
    table = bench("table", str(grid), *store)
    for name in (TITLE, METHOD, BUDGET):
        assert name in " ".join(table.split())
    assert "brackets (1 cell)" in bench("status", str(grid), *store)
    folder = tmp_path / "[b]plots[/b]"
    assert f"wrote {folder}/table.md" in bench("table", str(grid), *store, "--output", str(folder / "table.md"))
    assert f"wrote {folder}/brackets-ratio.png" in bench("plot", "ratio", str(grid), *store, "--output", str(folder))


def test_plots_of_two_grids_stand_side_by_side(grid_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(grid_file.read_text())
    options = ("--store", str(tmp_path / "store"), "--output", str(tmp_path / "plots"), "--json")
    for grid in (grid_file, other):
        for kind in ("ratio", "convergence"):
            files = json.loads(bench("plot", kind, str(grid), *options))["files"]
            assert [Path(file).name for file in files] == [f"{grid.stem}-{kind}.{end}" for end in ("png", "svg", "pdf")]
    assert len(list((tmp_path / "plots").iterdir())) == 12
