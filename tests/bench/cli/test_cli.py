"""The command line as a user types it, in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.files import REPOSITORY
from tests.typed import bench


def test_a_grid_from_plan_to_table_and_again(grid_file: Path, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "store"))
    grid = str(grid_file)
    assert "pending" in bench("status", grid, *store)
    assert "1 cell, 1 label split; 1 pending" in bench("plan", grid, *store)
    assert "3 cells (3 method), 1 label split; 3 pending" in bench("plan", "demo", *store)
    assert "1 done" in bench("run", grid, *store)
    assert "done already" in bench("run", grid, *store)
    (cell,) = json.loads(bench("status", grid, *store, "--json"))["cells"]
    assert (cell["state"], cell["step"], cell["attempt"]) == ("done", 8, 1)
    table = json.loads(bench("table", grid, *store, "--json"))
    assert table
    for fmt in ("md", "csv", "latex", "html"):
        assert "supervised" in bench("table", grid, *store, "--format", fmt)
    (row,) = csv.DictReader(bench("table", grid, *store, "--runs").splitlines())
    (same,) = json.loads(bench("table", grid, *store, "--runs", "--json"))
    assert row["id"] == same["id"] == cell["id"]
    assert float(row["miou_last"]) == pytest.approx(same["miou_last"])
    assert "written as csv or json" in bench("table", grid, *store, "--runs", "--format", "latex", code=2)
    plots = json.loads(bench("plot", "ratio", grid, *store, "--output", str(tmp_path / "plots"), "--json"))["files"]
    plots += json.loads(bench("plot", "convergence", grid, *store, "--output", str(tmp_path / "plots"), "--json"))[
        "files"
    ]
    assert {Path(p).suffix for p in plots} == {".png", ".svg", ".pdf"}
    assert all(Path(p).stat().st_size > 1000 for p in plots)
    kept = tmp_path / "store" / cell["id"] / "confusion-last.npz"
    content = kept.read_bytes()
    kept.unlink()
    again = json.loads(
        bench(
            "evaluate", cell["id"], *store, "--json", "--boundary", "--draw", "1", "--output", str(tmp_path / "masks")
        )
    )
    assert again["miou"] == pytest.approx(again["recorded_miou"], abs=1e-9)
    assert [Path(file).suffix for file in again["drawings"]] == [".png", ".svg", ".pdf"]
    assert all(Path(file).exists() for file in again["drawings"])
    assert len(kept.read_bytes()) > len(content)
    boundary, accuracy = (
        json.loads(bench("table", grid, *store, "--json", "--metric", m)) for m in ("boundary-iou", "accuracy")
    )
    assert boundary["sections"][0]["cells"][0]["last"]["mean"] > 0
    mean = accuracy["sections"][0]["cells"][0]["last"]["mean"]
    assert mean == pytest.approx(float(row["pixel_accuracy_last"]), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "nonsense"], "unknown grid 'nonsense'"),
        (["plan", "no/such/file.yaml"], "no/such/file.yaml: no such grid file"),
        (["run", "demo", "--set", "schedule.iteration=3"], "(did you mean 'iterations'?)"),
        (["run", "demo", "--only", "methd=classmix"], "(did you mean 'method'?)"),
        (["run", "demo", "--only", "method=clasmix"], "(did you mean 'classmix'?)"),
        (["plan", "camvid-quick"], "--data camvid=DIR"),
        (["plan", "reco-voc"], "--data voc=DIR"),  # its network brings torchvision, and with it triton
        (["run", "camvid-quick"], "--data camvid=DIR"),
        (["plan", "demo", "--data", "camvid=/no/such/folder"], "there is no folder /no/such/folder"),
        (["evaluate", "nothing"], "no such run"),
        (["split", "toy", "few_label=3"], "(did you mean 'few_labels'?)"),
        (["data", "check", "camvid"], "--data camvid=DIR"),
        (["list", "keys", "--space"], "not for `list keys`"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    stderr = bench(*arguments, *(() if arguments[0] in ("data", "list") else ("--store", str(tmp_path / "s"))), code=2)
    assert message in stderr
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1


def test_lists_and_split_and_doctor(tmp_path: Path) -> None:
    assert "few_labels" in bench("list", "protocols")
    methods = json.loads(bench("list", "methods", "--json"))["entries"]
    assert {"supervised", "mean_teacher", "classmix"} <= {m["name"] for m in methods}
    assert "camvid-quick" in bench("list", "grids")
    manifest = json.loads(bench("split", "toy", "ratio=1/4", "--seed", "1", "--store", str(tmp_path), "--json"))
    assert (len(manifest["labelled"]), len(manifest["unlabelled"])) == (6, 18)
    report = json.loads(bench("doctor", "--store", str(tmp_path), "--json"))
    assert not [c for c in report["checks"] if c["verdict"] == "problem"]


def test_a_broken_plugin_is_shown_and_hurts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module")
    monkeypatch.setenv("BENCH_PLUGINS", str(broken))
    shown = bench("list", "methods")
    assert "no_such_module" in shown
    assert "classmix" in shown


def test_ctrl_c_leaves_a_run_that_goes_on(grid_file: Path, tmp_path: Path) -> None:
    grid_file.write_text(grid_file.read_text().replace("iterations: 8", "iterations: 300"))
    arguments = ["run", str(grid_file), "--store", str(tmp_path / "store")]
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "bench.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the tests may run deaf to it
    )
    deadline = time.monotonic() + 120
    while not any((p / "timing.jsonl").exists() for p in (tmp_path / "store").glob("toy*")):
        assert time.monotonic() < deadline, "the run never got going"
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "the same command goes on from there" in output
    assert "Traceback" not in output
    (cell,) = json.loads(bench("status", str(grid_file), "--store", str(tmp_path / "store"), "--json"))["cells"]
    assert cell["state"] == "preempted"
    assert 50 <= cell["step"] < 300
    assert "1 done" in bench(*arguments)
