"""The GPU check as a whole on the no-op runtime: every line runs, and leaves open only what is named here."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bench import registry
from bench.files import REPOSITORY, read_json
from tests import noop_cuda
from tests.gpu.lines import LINES
from tests.gpu.report import MEANINGLESS, NO_CHECKOUT, NO_COMPILER, SMALL_SIZE

# Lines of whose figures none can be judged without a real GPU. They run as the others do, so that an error fails them.
OPEN = {
    "again": MEANINGLESS,
    "losses": MEANINGLESS,
    "kernels": MEANINGLESS,
    "times": MEANINGLESS,
    "loader": MEANINGLESS,
    "compile": NO_COMPILER,
}
# Why single figures of the other lines, and of these, may be left open.
OPEN_FIGURES = {
    "resume": {MEANINGLESS},
    "memory": {SMALL_SIZE},
    "evaluation": {MEANINGLESS},
    "times": {MEANINGLESS, NO_CHECKOUT},
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the check found, by line."""
    noop_cuda.need()
    folder = tmp_path_factory.mktemp("gpu-check")
    command = [sys.executable, "-m", "tests.gpu", "--noop", "--budget", "30", "--output", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    (path,) = folder.iterdir()
    kept = read_json(path)
    assert kept is not None
    found: dict[str, Any] = kept["check"]["lines"]
    failed = {name: line["reason"] for name, line in found.items() if line["verdict"] == "failed"}
    assert done.returncode == bool(failed), done.stderr
    assert not failed, done.stdout[-8000:]
    return found


def test_every_line_passes_or_is_left_open_by_name(lines: dict[str, Any]) -> None:
    expected = {line.name: ("skipped", OPEN[line.name]) if line.name in OPEN else ("passed", "") for line in LINES}
    assert {name: (line["verdict"], line["reason"]) for name, line in lines.items()} == expected


def test_only_named_figures_are_left_open(lines: dict[str, Any]) -> None:
    for name, line in lines.items():
        reasons = {figure["skipped"] for figure in line["figures"] if "skipped" in figure}
        assert reasons <= OPEN_FIGURES.get(name, {OPEN.get(name)}), name


def test_every_line_has_figures(lines: dict[str, Any]) -> None:
    assert list(lines) == sorted(line.name for line in LINES)
    assert all(line["figures"] for line in lines.values())


def test_the_first_lines_are_judged(lines: dict[str, Any]) -> None:
    judged = {name: sum(figure["met"] is True for figure in line["figures"]) for name, line in lines.items()}
    # Of this project's own: the process may hold plug-ins of other tests.
    methods = sum(entry.cls.__module__.startswith("methods.") for entry in registry.entries("method"))
    assert judged["cells"] == 2 * methods + 1  # each cell, and that they are as many
    assert judged["syncs"] == methods
    assert judged["sweep"] == 3
    assert judged["out-of-memory"] == 3
