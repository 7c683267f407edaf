"""The rooms import each other one way only, and what must start fast never imports torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("bench", "methods", "datasets", "slurm")
# The contracts that the harness may name; everything else in methods and datasets goes through the registry.
CONTRACTS = {"methods.base", "methods.networks.weights", "datasets.base", "datasets.split"}
TORCH_FREE = (
    "bench.report",
    "bench.store",
    "bench.store.status",
    "bench.plan.summary",
    "bench.spec",
    "bench.cli",
    "datasets",
)


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    }


def violations(module: str, path: Path) -> list[str]:
    """Return the imports of a module that go against the design's table."""
    room = module.split(".")[0]
    found = imports(path)
    ours = {name for name in found if name.split(".")[0] in ROOMS}
    allowed_bench = {"bench.registry", "bench.seeds", "bench.config", "bench.errors"}

    def under(name: str, prefixes: set[str]) -> bool:
        return any(name == p or name.startswith(p + ".") for p in prefixes)

    if room in ("methods", "datasets"):
        return sorted(n for n in ours if not under(n, allowed_bench | {room}) and n != "bench")
    if room == "bench":
        bad = {n for n in ours if n.split(".")[0] in ("methods", "datasets") and not under(n, CONTRACTS)}
        bad |= {n for n in ours if n.startswith("slurm") and not module.startswith("bench.cli")}
        if module.startswith("bench.store"):
            bad |= {n for n in ours if n.startswith("bench.") and not under(n, {"bench.store", "bench.errors"})}
        if module.startswith("bench.report"):
            bad |= {n for n in ours if not under(n, {"bench.report", "bench.store", "bench.errors", "bench.seeds"})}
            bad -= {"bench"}
        return sorted(n for n in bad if n not in ("methods", "datasets", "methods.networks"))
    return []


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    assert violations(module, modules()[module]) == []


def test_the_harness_names_no_method_and_no_dataset() -> None:
    from bench import registry

    names = {n for kind in ("method", "dataset") for n in registry.names(kind) if n not in ("folder", "toy")}
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
