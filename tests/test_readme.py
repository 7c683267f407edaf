"""What the README shows must work as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from bench import registry
from bench.cli.app import app
from bench.spec.cell import PARTS, resolve_part
from bench.spec.grid import expand, grid_files, read_grid
from methods.base import Build
from tests.methods.fakes import CLASSES, batch, network

README = (Path(__file__).parents[1] / "README.md").read_text()
STARTED = (Path(__file__).parents[1] / "docs/index.md").read_text()


def block(language: str, containing: str) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(b for b in blocks if containing in b)


def test_the_method_in_one_file_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "entropy.py"
    path.write_text(block("python", "EntropyMinimisation"))
    monkeypatch.setenv("BENCH_PLUGINS", str(path))
    method = registry.get("method", "entropy")
    losses = method(method.Config(), Build(CLASSES, network, 0)).train().losses(batch())
    assert set(losses) == {"supervised", "entropy"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_every_method_is_in_the_table_and_every_grid_there_exists() -> None:
    page = (Path(__file__).parents[1] / "docs/methods.md").read_text()
    table, _, sections = page.partition("## supervised")
    ours = [entry.name for entry in registry.entries("method") if entry.plugin is None]
    assert [name for name in ours if f"`{name}`" not in table or f"`{name}`" not in README] == []
    told = set(re.findall(r"\w+", " ".join(re.findall(r"^## (.*)$", "## supervised" + sections, re.M))))
    assert {*ours} - told == {"pixel_contrast"}  # told of in ReCo's section
    grids = {path.stem for path in grid_files()}
    assert set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", table)) <= grids


def test_the_grid_expands(tmp_path: Path) -> None:
    path = tmp_path / "my-grid.yaml"
    path.write_text(block("yaml", "axes"))
    points = list(expand(read_grid(path), str(path), {}))
    assert len(points) == 3 * 3 * 3 - 3
    for point in points:
        for kind in PARTS:
            raw = {k: v for k, v in point.raw[kind].items() if k != "label"}
            resolve_part(kind, raw, "README")


def test_every_command_and_option_exists() -> None:
    import typer

    commands = typer.main.get_command(app)
    shown = re.findall(r"python bench\.py ([a-z]+)([^\n`#]*)", README + STARTED)
    assert len(shown) >= 8
    for verb, rest in shown:
        command = commands.commands[verb]  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            command = command.commands[rest.split()[0]]
        options = {o for parameter in command.params for o in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, (verb, rest)


def test_the_citation_names_this_version() -> None:
    root = Path(__file__).parents[1]
    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    assert cited.keys() >= {"cff-version", "message", "title", "authors"}  # what version 1.2.0 of the format requires
    project = (root / "pyproject.toml").read_text()
    assert f'version = "{cited["version"]}"' in project and f'license = "{cited["license"]}"' in project
    (described,) = re.findall('description = "(.*)"', project)
    assert cited["abstract"] == f"{described}."


def test_every_page_is_in_the_documentation() -> None:
    root = Path(__file__).parents[1]
    pages = [page for entry in yaml.safe_load((root / "mkdocs.yml").read_text())["nav"] for page in entry.values()]
    assert sorted(pages) == sorted(
        [*(path.name for path in (root / "docs").glob("*.md")), "keys.md"]
    )  # that one is made
    links = {link for path in (root / "docs").glob("*.md") for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text())}
    assert links <= {*pages, *(path.name for path in (root / "docs").glob("*.ipynb"))}
