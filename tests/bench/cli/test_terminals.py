"""Every terminal: encodings, markup and commands in names, closed and full streams, safe path mode, long names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.files import REPOSITORY, short_name
from tests.conftest import GRID
from tests.typed import typed

BENCH = str(REPOSITORY / "bench.py")


def grid(path: Path, title: str, label: str = "supervised", iterations: int = 1) -> Path:
    content = yaml.safe_load(GRID)
    content["title"] = title
    content["recipe"]["schedule"]["iterations"] = iterations
    content["axes"]["method"] = [{"name": "supervised", "label": label}]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def bench(*arguments: str, python: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **options.pop("variables", {})}
    command = [sys.executable, *python, BENCH, *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=environment, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the grid beside it has been run."""
    folder = tmp_path_factory.mktemp("terminals")
    path = grid(folder / "g.yaml", "λ [bold]±[/] → 中 “x” [/data]", "ReCo λ≥0.5 [red]\x1b[31m")
    done = typed("run", str(path), "--store", str(folder / "s"))
    assert done.returncode == 0, done.stderr
    return folder / "s"


def in_store(store: Path, verb: str, *more: str) -> list[str]:
    return [verb, str(store.parent / "g.yaml"), "--store", str(store), *more]


VERBS = [("plan",), ("status",), ("table",), ("table", "--format", "md"), ("table", "--format", "latex")]
MACHINES = [("status", "--json"), ("table", "--format", "json"), ("table", "--runs", "--format", "json")]
C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
CASES = [
    ({"PYTHONIOENCODING": "ascii"}, verb) for verb in [*VERBS, *MACHINES, ("describe",), ("table", "--format", "html")]
]
CASES += [({"PYTHONIOENCODING": "iso8859-1"}, verb) for verb in (VERBS[1], VERBS[2], MACHINES[1])]
CASES += [(C, verb) for verb in (VERBS[0], VERBS[2])]


@pytest.mark.parametrize(("variables", "verb"), CASES)
def test_a_terminal_that_is_not_utf_8_gets_replacements(
    store: Path, variables: dict[str, str], verb: tuple[str, ...]
) -> None:
    done = bench(*in_store(store, *verb), variables=variables)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    if verb in MACHINES:
        as_utf_8 = bench(*in_store(store, *verb), variables={"PYTHONIOENCODING": "utf-8"})
        assert json.loads(done.stdout.decode("latin-1")) == json.loads(as_utf_8.stdout)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_what_comes_from_outside_is_no_markup_and_no_command(store: Path, verb: tuple[str, ...]) -> None:
    text = typed(*in_store(store, *verb)).stdout
    assert "\x1b" not in text
    if verb[0] == "plan":
        assert "λ [bold]±[/] → 中 “x” [/data]" in text


@pytest.mark.parametrize(
    "arguments", [("plan", "g.yaml", "[/data]"), ("[/verb]",), ("plan", "--[/option]"), ("run", "[/grid]")]
)
def test_bad_input_may_look_like_markup(arguments: tuple[str, ...]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert arguments[-1] in done.stderr.decode()


@pytest.mark.parametrize(
    "verb", [("status",), ("table", "--format", "json"), ("table", "--runs"), ("doctor",)], ids=" ".join
)
def test_closed_streams_do_no_harm(store: Path, verb: tuple[str, ...]) -> None:
    words = in_store(store, *verb) if verb[0] != "doctor" else ["doctor", "--store", str(store)]
    shell = f'exec "$0" "$@" {" ".join(("<&-", ">&-", "2>&-"))}'
    done = subprocess.run(["sh", "-c", shell, sys.executable, BENCH, *words], check=False)
    assert done.returncode == 0


def test_cells_run_with_closed_streams(tmp_path: Path) -> None:
    words = ["run", str(grid(tmp_path / "g.yaml", "t")), "--store", str(tmp_path / "s")]
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, BENCH, *words], check=False)
    assert done.returncode == 0 and len(list((tmp_path / "s").glob("*/result.json"))) == 1


@pytest.mark.parametrize("verb", [("status",), ("table", "--runs")], ids=" ".join)
def test_output_that_can_not_be_written_is_one_line(store: Path, verb: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, BENCH, *in_store(store, *verb)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    said = b"error: standard output, or a file that has no name: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("python", [("-P",), ("-I",)])
def test_safe_path_mode_from_another_folder(store: Path, tmp_path: Path, python: tuple[str, ...]) -> None:
    if sys.version_info < (3, 11) and python == ("-P",):
        pytest.skip("since Python 3.11")
    again = grid(tmp_path / "h.yaml", "planned in a child process")
    done = bench("status", str(again), "--store", str(store), python=python, cwd="/")
    assert (done.returncode, done.stderr) == (0, b"")
    done = bench("run", str(again), "--store", str(tmp_path / "s"), python=python, cwd="/")
    assert (done.returncode, done.stderr) == (0, b"") and b"1 done" in done.stdout


@pytest.mark.parametrize("name", ["n" * 230, "λ" * 120])
def test_long_names_of_grids(tmp_path: Path, name: str) -> None:
    path, where = grid(tmp_path / f"{name}.yaml", "t"), ["--store", str(tmp_path / "s")]
    words = [
        ("run", str(path), *where),
        ("status", str(path), *where),
        ("table", str(path), *where),
        ("plot", "convergence", str(path), *where, "--output", str(tmp_path / "plots")),
        ("bundle", str(path), *where, "-o", str(tmp_path / "b.zip")),
        ("merge", str(tmp_path / "b.zip"), "--store", str(tmp_path / "t")),
        ("submit", str(path), *where, "--profile", "local", "--dry-run"),
    ]
    for word in words:
        done = typed(*word)
        assert (done.returncode, done.stderr) == (0, ""), (word[0], done.stderr)


def test_names_of_files_are_cut_where_they_are_long_and_stay_apart() -> None:
    assert short_name("a" * 120) == "a" * 120
    one, other = short_name("a" * 200 + "b"), short_name("a" * 200 + "c")
    assert one != other and len(one) == 120
    assert len(os.fsencode(short_name("λ" * 200))) <= 120
    assert short_name("a" * 200, 240) == "a" * 200


def test_any_umask_will_do(tmp_path: Path) -> None:
    path, where = grid(tmp_path / "g.yaml", "t"), ["--store", str(tmp_path / "s")]
    for words in (("run", str(path), *where), ("status", str(path), *where), ("table", str(path), *where)):
        done = typed(*words, umask=0o077)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
