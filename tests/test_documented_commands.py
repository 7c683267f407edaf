"""Every command in the README and the documentation: all are read by the real parser, and nearly all are run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from PIL import Image

from bench import registry
from bench.cli import main
from bench.cli.app import app
from tests.conftest import GRID

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Verbs that are tested elsewhere: with a Slurm or official archives, or that go on until somebody stops them.
ELSEWHERE = ("submit", "retry", "cancel", "wait", "logs", "serve", "speed", "weights fetch", "data prepare")
# Too long here, or of more runs than a small grid has: test_export, test_memory, test_share and test_variance have them.
LONG = (
    "--watch",
    "--predict",
    "merge",
    "memory",
    "plot ranks",
    "plot variance",
    "check method",
    "check network flat",
    "prune",
)


def commands() -> Iterator[tuple[str, str]]:
    """Yield (page, command) of everything that begins with ``python bench.py``, without comments."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            inline = re.findall(r"`python (bench\.py [^` ]+ [^`]+)`", line)  # not a verb alone
            whole = re.match(r"\s*(?:\$ )?python (bench\.py .*)", line)
            for text in [whole[1]] if whole else inline:
                for command in re.split(r"\s&&\s(?:python )?", re.split(r"\s#", text)[0]):
                    yield page.name, re.sub(r"\s*…|\|DIR|\s*\[[^\]]*\]", "", command).removeprefix("bench.py ").strip()


COMMANDS = sorted(set(commands()), key=lambda found: found[1])


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_the_parser_takes_it(page: str, command: str) -> None:
    words = shlex.split(command)
    verb = typer.main.get_command(app)
    while hasattr(verb, "commands"):
        name = words.pop(0)
        verb = verb.commands[name]
    verb.make_context(str(verb.name), words)


GRIDS = ("my-grid.yaml", "camvid-quick", "reco-voc", "GRID", "streets.yaml")
MISSING = {
    "camvid",
    "/data/streets",
    "/data/streets/dataset.yaml",
    "b.json",
    "test",
}  # data and splits that aren't here


def runnable(place: Path, run: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield (page, command, its words with what is here in place of its names), each once."""
    seen = set[str]()
    for page, command in COMMANDS:
        text = re.sub(r"--data \S+ ?", "", command).replace("camvid few_labels", "toy few_labels").strip()
        if command.startswith(ELSEWHERE) or any(word in command for word in LONG) or text in seen:
            continue
        seen.add(text)
        meant = {"RUN": run, "IMAGES": "photos", "photos/": "photos", "more.jpg": "photos/a.png"}
        meant |= {"DIR": place / f"taken-{len(seen)}", "OUT": place / f"out-{len(seen)}"} | dict.fromkeys(
            GRIDS, "grid.yaml"
        )
        words = tuple(str(meant.get(word, word)) for word in shlex.split(text))
        ships = words[0] == "run" and "grid.yaml" not in words  # a grid that takes hours
        if not ships and not MISSING & {*words}:
            yield page, command, words


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    grid = yaml.safe_load(GRID)
    grid["recipe"]["schedule"]["iterations"] = 3
    grid["axes"]["method"] = ["supervised", "classmix", {"name": "reco", "num_queries": 8, "num_negatives": 8}]
    grid["axes"]["protocol"] = [{"few_labels": 10}, {"few_labels": 20}]
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    toy = registry.get("dataset", "toy")
    (tmp_path / "photos").mkdir()
    Image.fromarray(toy(toy.Config(), None).image("val00")).save(tmp_path / "photos/a.png")
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["bench.py", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return f"exit code {end.value.code}: {err or out}" if end.value.code else ""

    assert run("run", "grid.yaml") == ""
    (trained,) = (tmp_path / "store").glob("*_few-labels-20_*reco_*")
    said = {f"{page}: {command}": run(*words) for page, command, words in runnable(tmp_path, trained)}
    assert {command: wrong for command, wrong in said.items() if wrong} == {}
    assert len(said) >= 25
