"""What verbs share: options and the request made of them, output that takes nothing for markup, a quick start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench.cli.options import JSON, matching, takes_request
from bench.cli.output import console, counted, duration
from bench.errors import BenchError
from bench.files import REPOSITORY
from bench.plan.request import Request
from tests.typed import bench


def test_a_verb_gets_the_request_that_the_shared_options_make(tmp_path: Path) -> None:
    seen: list[tuple[Request, int, bool]] = []

    @takes_request
    def verb(request: Request, number: int = 3, as_json: JSON = False) -> None:
        """Do something."""
        seen.append((request, number, as_json))

    app = typer.Typer()
    app.command()(verb)
    arguments = ["g", "--set", "a=1", "--set", "b=2", "--data", "toy=/d", "--store", str(tmp_path), "--number", "4"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert seen == [(Request("g", ("a=1", "b=2"), ("toy=/d",), tmp_path), 4, False)]
    shown = CliRunner().invoke(app, ["--help"]).stdout
    places = [shown.index(option) for option in ("--number", "--set", "--data", "--store", "--json")]
    assert places == sorted(places)
    assert all(text in shown for text in ("Do something.", "BENCH_STORE", "results/runs", "BENCH_DATA"))
    assert CliRunner().invoke(app, []).exit_code == 2  # the grid is required


def test_only_names_the_nearest_key_and_value() -> None:
    items = [{"method": "classmix"}, {"method": "reco"}]
    assert matching(items, dict, "method=reco") == [{"method": "reco"}]
    assert matching(items, dict, None) == items
    for only, message in (("methd=reco", "'method'"), ("method=rec", "'reco'"), ("reco", "expected key=value")):
        with pytest.raises(BenchError, match=message):
            matching(items, dict, only)


def test_nothing_printed_is_taken_for_markup(
    grid_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "[bold]a[/] [/nothing] [link=x] :smile:"
    console().print(text)
    assert capsys.readouterr().out.strip() == text
    grid = tmp_path / "[red]small.yaml"
    grid.write_text(grid_file.read_text() + f"title: '{text}'\n")
    store = ("--store", str(tmp_path / "store"))
    assert text in bench("plan", str(grid), *store)
    assert "[red]small (1 cell)" in bench("status", str(grid), *store)
    assert "wrote" in bench("table", str(grid), *store, "--output", str(tmp_path / "[/x].md"))


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "pydantic", "submitit", "yaml", "bench.spec", "slurm.view")
    code = "import sys; from bench.cli.app import app\n"
    code += f"found = [name for name in {heavy} if name in sys.modules]; assert not found, found"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_amounts_are_written_as_people_do() -> None:
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
    assert [duration(s) for s in (None, 42, 420, 11100)] == ["–", "42 s", "7 min", "3 h 05 min"]
