"""Command lines that can't be read, or hold what no terminal should get: one line each, and the exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cli import main


def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output and error of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capfd.readouterr()
    return int(str(end.value.code or 0)), out, err


@pytest.mark.parametrize(("arguments", "usage"), [((), "bench.py"), (("data",), "data"), (("weights",), "weights")])
def test_without_a_verb_the_usage_is_shown(
    arguments: tuple[str, ...], usage: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capfd, monkeypatch, *arguments)
    assert code == 2
    assert f"{usage} [OPTIONS] COMMAND" in out + err


def test_help_is_no_error(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run(capfd, monkeypatch, "plan", "--help")
    assert (code, err) == (0, "")
    assert "plan [OPTIONS]" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("run", "demo", "--only", "method=reco", "--only", "seed=0"),
            "--only is given twice; all that it asks for stands",
        ),
        (("table", "demo", "--store", "a", "--store=b"), "--store is given twice"),
        (("data", "check", "a", "-o", "x", "-o", "y"), ""),
    ],
)
def test_an_option_of_one_value_is_given_once(
    arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capfd, monkeypatch, *arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_options_of_several_values_and_flags_are_given_as_often_as_wanted(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, _ = run(
        capfd,
        monkeypatch,
        *("plan", "demo", "--store", str(tmp_path), "--json", "--json", "--set", "seed=[0]", "--set", "seed=[1]"),
    )
    assert (code, out[:1]) == (0, "{")


NASTY = [
    "a\nb",
    "a\r\tb",
    "\x1b[31mred",
    "\u2028",
    "\ud800",
    "x" * 50_000,
    "\u202egnp",
    " ",
    "[" * 5000,
    "*a",
    "!!int x",
]
LINES: list[tuple[str, ...]] = [
    ("run",),
    ("nosuchverb",),
    ("plan", "demo", "--no-such-option"),
    ("plan", "demo", "--power", "much"),
    ("table", "demo", "--format", "odd"),
    *[(nasty,) for nasty in NASTY],
    *[(verb, nasty) for verb in ("plan", "status", "table", "run", "describe", "tune") for nasty in NASTY],
    *[("plan", "demo", "--set", f"{nasty}=1") for nasty in NASTY],
    *[("plan", "demo", "--set", f"method={nasty}") for nasty in NASTY],
    *[("plan", "demo", "--set", f"schedule.iterations={nasty}") for nasty in NASTY if nasty != " "],
    *[("status", "demo", "--only", nasty) for nasty in NASTY],
    *[("status", "demo", "--only", f"method={nasty}") for nasty in NASTY],
    *[("plan", "demo", "--data", f"camvid=/no/{nasty}") for nasty in NASTY],
    *[("plan", "demo", "--data", nasty) for nasty in NASTY],
    *[("evaluate", nasty) for nasty in NASTY],
    *[("data", "check", nasty) for nasty in NASTY],
    *[("check", "method", nasty) for nasty in NASTY],
    *[("list", nasty) for nasty in NASTY],
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all of them: a view plans its grid, in a process of its own, where the store doesn't know it yet."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("arguments", LINES, ids=range(len(LINES)))
def test_bad_command_lines_are_one_line(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setenv("BENCH_STORE", str(store))
    code, _, err = run(capfd, monkeypatch, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1 and err.endswith("\n")
    assert len(err) <= 4200
    assert "Traceback" not in err and "\x1b" not in err and "\u202e" not in err
