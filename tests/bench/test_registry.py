"""Files that can't be imported, and plug-ins with unusual options: one line each, and everything else works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.files import REPOSITORY
from tests.typed import typed


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code."""
    for name in ("bench", "methods", "datasets", "slurm"):
        shutil.copytree(REPOSITORY / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "bench.py", tmp_path / "copy")
    return tmp_path / "copy"


def bench(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    return subprocess.run(
        [sys.executable, str(checkout / "bench.py"), *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_broken_file_of_methods_harms_no_other(checkout: Path, grid_file: Path, tmp_path: Path) -> None:
    (checkout / "methods" / "unfinished.py").write_text("def broken(:\n")
    for verb in ("plan", "status", "table"):
        done = bench(checkout, verb, str(grid_file), "--store", str(tmp_path / "store"))
        assert done.returncode == 0, done.stderr
    listed = bench(checkout, "list", "methods")
    assert listed.returncode == 0 and "methods/unfinished.py" in listed.stdout and "supervised" in listed.stdout
    grid = tmp_path / "other.yaml"
    grid.write_text(grid_file.read_text().replace("supervised", "unfinished"))
    for verb in ("plan", "table"):
        done = bench(checkout, verb, str(grid), "--store", str(tmp_path / "store"))
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert "methods/unfinished.py can't be imported: SyntaxError" in done.stderr


PLUGIN = '''
from bench.registry import register
from methods.student import StudentMethod
from methods.supervised import SupervisedConfig

class Config(SupervisedConfig):
    """Has a list."""
    weights: list[float] = [1.0, 0.5]

@register("method", "listed")
class Listed(StudentMethod):
    """A method whose options hold a list."""
    Config = Config
    uses_unlabelled = False
'''


def test_a_plug_in_may_have_a_list_among_its_options(tmp_path: Path, grid_file: Path) -> None:
    plugin, grid = tmp_path / "listed.py", tmp_path / "listed.yaml"
    plugin.write_text(PLUGIN)
    grid.write_text(grid_file.read_text().replace("[supervised]", "[listed, {name: listed, weights: [2.0]}]"))
    plugins = os.pathsep.join([os.environ["BENCH_PLUGINS"], str(plugin)])
    for verb in ("plan", "table"):
        done = typed(verb, str(grid), "--store", str(tmp_path / "store"), variables={"BENCH_PLUGINS": plugins})
        assert done.returncode == 0, done.stderr


FOREIGN = '''
from dataclasses import dataclass, field

from bench.registry import register
from methods.student import StudentMethod

@dataclass
class Config:
    weights: list = field(default_factory=list)

@register("method", "foreign")
class Foreign(StudentMethod):
    """Its options are no Config of the harness."""
    Config = Config
'''


def test_options_that_are_no_config_are_one_line(tmp_path: Path, grid_file: Path) -> None:
    plugin, grid = tmp_path / "foreign.py", tmp_path / "foreign.yaml"
    plugin.write_text(FOREIGN)
    grid.write_text(grid_file.read_text().replace("[supervised]", "[foreign]"))
    plugins = os.pathsep.join([os.environ["BENCH_PLUGINS"], str(plugin)])
    listed = typed("list", "methods", variables={"BENCH_PLUGINS": plugins})
    assert listed.returncode == 0 and "supervised" in listed.stdout, listed.stderr
    assert f"{plugin}: BenchError: method 'foreign': its Config" in listed.stdout
    planned = typed("plan", str(grid), "--store", str(tmp_path / "store"), variables={"BENCH_PLUGINS": plugins})
    assert planned.returncode == 2 and len(planned.stderr.splitlines()) == 1
    assert "must derive from bench.config.Config" in planned.stderr
