"""The floors of ``tests/floors.py`` hold, and what must start fast never imports torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import floors
from tests.floors import CONTRACTS, ROOT, TORCH_FREE, imports, modules


def test_every_import_leads_down(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for number, floor in reversed([*enumerate(floors.FLOORS)]):
            print(f"\n{number:2}  {'  '.join(room.name for room in floor)}", end="")
    assert floors.steps_up() == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert floors.circles() == []


def test_the_exceptions_are_needed() -> None:
    assert set(floors.arrows()) >= floors.EXCEPTIONS


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("module", [name for name in modules() if under(name, ("bench", "slurm"))])
def test_the_harness_knows_plug_ins_by_their_contracts_alone(module: str) -> None:
    named = {name for name in imports(module) if under(name, ("methods", "datasets"))}
    assert not {name for name in named if not under(name, CONTRACTS)}


@pytest.mark.parametrize("module", [name for name in modules() if under(name, TORCH_FREE)])
def test_no_torch_where_it_must_start_fast(module: str) -> None:
    assert not {name for name in imports(module) if under(name, ("torch", "torchvision"))}


@pytest.mark.parametrize("folder", ["bench", "methods", "datasets"])
def test_tests_mirror_the_rooms(folder: str) -> None:
    """A folder of tests has the name of the room that it tests."""
    found = [p.relative_to(ROOT / "tests") for p in (ROOT / "tests" / folder).rglob("*") if p.is_dir()]
    assert [str(p) for p in found if p.name != "__pycache__" and not (ROOT / p).is_dir()] == []


def test_contributing_shows_the_floors_as_they_are() -> None:
    assert floors.CONTRIBUTING.read_text() == floors.written(), "python -m tests.floors writes them anew"


def test_the_harness_names_no_method_and_no_dataset() -> None:
    from bench import registry

    shipped = [entry for kind in ("method", "dataset") for entry in registry.entries(kind)]
    names = {entry.name for entry in shipped if under(entry.cls.__module__, ("methods", "datasets"))} - {"folder"}
    for module, path in modules().items():
        if not module.startswith("bench.") or module.startswith("bench.cli"):
            continue
        strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        defaults = {"supervised", "synthetic", "reco"} if module == "bench.spec.grid" else set()  # the default recipe
        assert not (names - defaults) & {s for s in strings if isinstance(s, str)}, module


@pytest.mark.parametrize(
    "code",
    [
        "import bench.cli.app",
        "import bench.store.status, bench.plan.summary, bench.report.tables, bench.report.figures.ratio",
        "from bench import registry; registry.names('dataset'); registry.names('protocol')",
    ],
)
def test_what_must_start_fast_never_imports_torch(code: str) -> None:
    check = f"{code}\nimport sys\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_our_datasets_package_wins_over_an_installed_one(tmp_path: Path) -> None:
    """The name `datasets` is taken by a well-known distribution; ours must win here and in child processes."""
    from bench.machine import child_environment

    stub = tmp_path / "site" / "datasets"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("raise RuntimeError('the wrong datasets package')")
    environment = {**child_environment(), "BENCH_PLUGINS": ""}
    environment["PYTHONPATH"] += os.pathsep + str(stub.parent)
    for command in (
        ["bench.py", "list", "datasets"],
        ["-c", "import bench.run.worker, datasets; print(datasets.__file__)"],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert str(ROOT) in done.stdout


def test_files_are_short() -> None:
    long = {str(p): n for p in modules().values() if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_the_version_is_said_once_and_the_same() -> None:
    from bench import __version__

    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
