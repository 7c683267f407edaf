"""The runner of the GPU check: a line that crashes, hangs or has no time takes nothing from the others. No GPU is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.files import REPOSITORY
from tests.gpu import runner
from tests.gpu.__main__ import Results, table
from tests.gpu.lines import Line
from tests.gpu.report import Report, at_least, exactly, read
from tests.gpu.runner import BUDGET, Outcome, run_lines

NOTE = """import os, sys, time
from pathlib import Path
from tests.gpu.report import Report, at_most
r = Report(Path(sys.argv[1]), {noop})
"""
SCRIPTS = {
    "good": "r.facts({{'device': 'A GPU'}}); r.note('x', 1, '', at_most(2)); r.end()",
    "missed": "r.note('x', 3, 's', at_most(2)); r.end()",
    "nan": "r.note('x', float('nan'), '', at_most(2)); r.end()",
    "raises": "r.note('x', 1, '', at_most(2)); r.end('ValueError: no'); sys.exit(1)",
    "crashes": "r.note('x', 1, '', at_most(2)); os.kill(os.getpid(), 11)",
    "silent": "print('nothing to say')",
    "hangs": "r.note('x', 1, '', at_most(2)); time.sleep(100)",
    "physical": "r.note('x', 3, '', at_most(2, 'numbers')); r.end()",
}


def lines(*names: str, cap: float = 60) -> list[Line]:
    return [Line(name, name, "", cap) for name in names]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs scripted lines and returns their outcomes by name."""
    noop = False

    def command(line: Line, folder: Path, report: Path) -> list[str]:
        return [sys.executable, "-c", (NOTE + SCRIPTS[line.name]).format(noop=noop), str(report)]

    def run(wanted: list[Line], budget: float = 600, on_noop: bool = False) -> dict[str, Outcome]:
        nonlocal noop
        noop, found = on_noop, dict[str, Outcome]()
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        run_lines(
            wanted, tmp_path, environment, budget, False, lambda line, outcome, _: found.update({line.name: outcome})
        )
        return found

    monkeypatch.setattr(runner, "_command", command)
    return run


def test_each_ending_is_told_and_the_next_line_runs(run: Any) -> None:
    found = run(lines("missed", "nan", "raises", "crashes", "silent", "good"))
    assert {name: (outcome["verdict"], outcome["reason"]) for name, outcome in found.items()} == {
        "missed": ("failed", "x is 3, not <= 2"),
        "nan": ("failed", "x is nan, not <= 2"),
        "raises": ("failed", "ValueError: no"),
        "crashes": ("failed", "its process was ended by SIGSEGV"),
        "silent": ("failed", "it ended without a word"),
        "good": ("passed", ""),
    }
    assert found["crashes"]["figures"][0]["value"] == 1  # what was found before isn't lost
    assert found["silent"]["output"] == ["nothing to say"]


def test_a_line_that_hangs_is_stopped(run: Any) -> None:
    found = run(lines("hangs", cap=1.5) + lines("good"))
    assert (found["hangs"]["verdict"], found["hangs"]["reason"]) == ("failed", "stopped after 2 s")
    assert len(found["hangs"]["figures"]) == 1
    assert found["good"]["verdict"] == "passed"


def test_the_budget_stops_and_leaves_out(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SHORTEST", 0.5)
    found = run(lines("hangs", "good"), budget=2)
    assert [(found[name]["verdict"], found[name]["reason"]) for name in found] == [("skipped", BUDGET)] * 2
    assert len(found["hangs"]["figures"]) == 1


def test_what_hardware_alone_can_show_is_left_open_without_it(run: Any) -> None:
    assert run(lines("physical"), on_noop=True)["physical"]["reason"] == "numbers"
    assert run(lines("physical"))["physical"]["verdict"] == "failed"


def test_a_report_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    report = Report(tmp_path / "a.jsonl", noop=False)
    report.note("x", 2.0, "s", at_least(1))
    report.note("state", "done", "", exactly("done"))
    report.end()
    report.path.write_bytes(report.path.read_bytes()[:-4])
    found = read(report.path)
    assert [f["met"] for f in found.findings] == [True, True]
    assert not found.ended


def test_results_are_kept_as_they_come_and_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    path, copy = tmp_path / "gpu-a-gpu.json", tmp_path / "out" / "gpu-a-gpu.json"
    copy.parent.mkdir()
    path.write_text(json.dumps({"evidence": 1, "check": {"lines": {"old": {}, "good": {}}}}))
    (first, second) = lines("good", "later")
    good: Outcome = {"verdict": "passed", "reason": "", "seconds": 1.0, "figures": [], "output": []}
    results = Results(tmp_path)
    results.keep(first, good, {"device": "A GPU", "git_sha": "abc", "git_dirty": True})
    kept = json.loads(path.read_text())
    assert kept["evidence"] == 1
    assert list(kept["check"]["lines"]) == ["good", "old"]
    assert kept["check"]["lines"]["good"]["code"] == "abc-dirty"
    results.keep(second, good, {})
    assert list(json.loads(copy.read_text())["check"]["lines"]) == ["good", "later"]
    assert table(results.lines).splitlines()[1].split()[:2] == ["good", "passed"]
    out_of_time: Outcome = {**good, "verdict": "skipped", "reason": BUDGET}
    again = Results(tmp_path)
    again.keep(first, out_of_time, {"device": "A GPU"})
    found = json.loads(path.read_text())["check"]["lines"]
    assert list(found) == ["good", "later", "old"]
    assert found["good"]["verdict"] == "passed", "what is known isn't replaced by what wasn't tried"


def test_an_unknown_line_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "--only", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "invalid choice: 'nothing'" in done.stderr
