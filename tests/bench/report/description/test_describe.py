"""The section that is written of a grid: figures worked out by hand, stores that lack much, and each format."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.report.description.describe import describe, render
from bench.report.description.model import Description
from bench.report.description.recipe import optimizer_words, options, schedule_words
from bench.spec.sections import Optimizer, Schedule
from bench.store.run import State
from tests.bench.store.bundle.conftest import Lab, make_lab


@pytest.fixture
def lab(tmp_path: Path, grid_file: Path) -> Lab:
    """Three seeds done, on two models of GPU and a CPU; one failed."""
    text = grid_file.read_text().replace("seed: [0]", "seed: [0, 1, 2, 3]")
    grid_file.write_text("title: 'Fifty % of_it & more'\n" + text)
    lab = make_lab(tmp_path / "lab", grid_file)
    for place, (model, seconds, torch) in enumerate(
        [("A100", 7200, "2.9.0"), ("A100", 3600, "2.9.0"), ("H100", 900, "2.8.0")]
    ):
        run = lab.done(place, 40.0 + place)
        run.attempts.unlink()
        attempt = {
            "device": model,
            "cpu": "EPYC",
            "threads": 4,
            "tf32": False,
            "git_sha": "c0ffee",
            "git_dirty": place == 2,
        }
        run.record_attempt({**attempt, "time": f"2026-11-0{1 + place}T10:00:00+0100", "packages": {"torch": torch}})
        run.cost.write_text(json.dumps({"seconds": seconds, "device": "cuda", "peak_memory_bytes": 5e9 + place * 1e9}))
    lab.runs[0].record_attempt({"device": "A100", "time": "2026-11-01T12:00:00+0100", "packages": {"torch": "2.9.0"}})
    lab.state(3, State.FAILED, reason="ValueError: a [bad] thing_1")
    return lab


def described(lab: Lab, **more: Any) -> Description:
    return describe(lab.store, lab.summary, "small.yaml", **more)


def passage(found: Description, title: str) -> str:
    return next(passage.text for passage in found.passages if passage.title == title)


def test_hours_and_devices_are_summed_by_kind_and_model(lab: Lab) -> None:
    found = described(lab)
    compute = found.facts["compute"]
    assert compute["gpu_hours"] == (7200 + 3600 + 900) / 3600 == 3.25
    assert compute["hours_by_model"] == {"GPU A100": 3.0, "GPU H100": 0.25}
    assert (compute["cpu_hours"], compute["runs_counted"], compute["runs_begun_not_counted"]) == (0, 3, 1)
    assert compute["first_began"] == "2026-11-01T09:00:00+00:00"
    assert compute["peak_memory_bytes"]["GPU"] == 7e9
    text = passage(found, "Hardware and compute")
    assert "Devices, one a run: GPU A100 (2 runs), GPU H100 (1 run) and CPU EPYC (1 run)." in text
    assert "3.2 GPU hours for training and evaluation of 3 runs" in text and "runs without a result (1 began)" in text


def test_core_hours_of_cpus_are_hours_times_threads(lab: Lab) -> None:
    for place in range(3):
        run = lab.runs[place]
        run.attempts.unlink()
        run.record_attempt({"device": "cpu", "cpu": "EPYC", "threads": 2 + place})
    compute = described(lab).facts["compute"]
    assert (compute["gpu_hours"], compute["cpu_hours"]) == (0, 3.25)
    assert compute["cpu_core_hours"] == 2.0 * 2 + 1.0 * 3 + 0.25 * 4


def test_what_differs_between_runs_and_what_is_missing_is_said(lab: Lab) -> None:
    found = described(lab)
    software = passage(found, "Software and determinism")
    assert "PyTorch NOT the same in all runs: 2.9.0 (3 runs), 2.8.0 (1 run)" in software  # the failed run had 2.9.0
    assert "commit c0ffee, with uncommitted changes in 1 run." in software
    same = next(item for item in found.items if item.question.startswith("Were all runs"))
    assert same.answer.startswith("No: ") and "torch 2.9.0 (3 runs), 2.8.0 (1 run)" in same.answer
    runs = passage(found, "Runs and statistics")
    assert runs.startswith("Done: 3 of 4 planned runs. Each entry of a table is the mean of 3 runs, ±")
    assert "1 run took more than one attempt" in runs
    assert f"Not done: {lab.runs[3].id}: failed at step 8: ValueError: a [bad] thing_1." in runs
    left_out = next(item for item in found.items if item.question == "Is any run left out?")
    assert left_out.answer == f"1 planned run without a result: 1 failed ({lab.runs[3].id})."


def test_data_splits_seeds_and_the_recipe_are_those_of_the_plan(lab: Lab) -> None:
    found = described(lab)
    sha256 = lab.summary.cells[0].data_sha256
    data = passage(found, "Data")
    assert "toy (Squares on noise): images: 24 of train and 6 of val, scored on val, 3 classes" in data
    assert f"fingerprint {sha256[:12]}." in data
    assert [split.sha256 for split in found.splits] == [planned.cell.split_sha256 for planned in lab.plan.cells]
    assert {(split.labelled, split.unlabelled) for split in found.splits} == {(4, 20)}
    assert "split seeds 0, 1, 2 and 3" in passage(found, "Label splits")
    recipe = passage(found, "Methods and recipe")
    for words in (
        "supervised (batch_factor 2)",
        "8 iterations with 2 labelled and 2 unlabelled",
        "learning rate of 0.05",
    ):
        assert words in recipe
    assert "Deviations from the grid's recipe: none." in recipe
    assert "every 3 steps while it trained: 3 times" in passage(found, "Evaluation and selection")  # 3, 6, 8
    assert found.facts["selection"] == {"rule": "last", "evaluations_per_run": [3]}


def test_a_split_that_a_run_has_drawn_is_not_unknown_because_another_run_is_pending(lab: Lab) -> None:
    pending = lab.summary.cells[0].model_copy(update={"id": "another", "pieces": []})  # as planned without the data
    lab.summary = lab.summary.model_copy(update={"cells": [*lab.summary.cells, pending]})
    assert [split.sha256 for split in described(lab).splits] == [one.cell.split_sha256 for one in lab.plan.cells]


def test_a_recipe_that_differs_between_methods_says_whose_it_is(grid_file: Path, tmp_path: Path) -> None:
    text = grid_file.read_text().replace("[supervised]", "[supervised, mean_teacher]")
    grid_file.write_text(text + "overrides: [{when: {method: mean_teacher}, set: {optimizer.lr: 0.01}}]\n")
    lab = make_lab(tmp_path / "lab", grid_file)
    recipe = passage(described(lab), "Methods and recipe")
    assert re.search(
        r"rate of 0\.05, .*?\(method supervised\); SGD at a learning rate of 0\.01, .*?\(method mean_t", recipe
    )


def test_images_held_out_count_as_labelled_and_are_named(grid_file: Path, tmp_path: Path) -> None:
    grid_file.write_text(grid_file.read_text().replace("{every: 3}", "{every: 3, select_on: holdout, holdout: 1}"))
    found = described(make_lab(tmp_path / "lab", grid_file))
    assert (found.splits[0].labelled, found.splits[0].unlabelled, found.splits[0].held_out) == (4, 20, 1)
    assert "4 labelled (1 of them held out to choose a checkpoint) and 20 unl" in passage(found, "Label splits")
    assert "Done: 0 of 1 planned run." in passage(found, "Runs and statistics")
    assert "Not begun: 1 run." in passage(found, "Runs and statistics")


def test_a_store_without_anything_says_unknown(lab: Lab, tmp_path: Path) -> None:
    shutil.rmtree(lab.store)
    found = described(lab)
    texts = [passage.text for passage in found.passages] + [item.answer for item in found.items]
    assert (
        passage(found, "Software and determinism") == "Versions: unknown. Code: commit unknown. Determinism: unknown."
    )
    assert "Devices, one a run: unknown. Hours: unknown." in passage(found, "Hardware and compute")
    assert "number unknown" in passage(found, "Data") and "There is no score yet." in passage(
        found, "Runs and statistics"
    )
    assert not [text for text in texts if "None" in text or "nan" in text]
    assert [split["labelled"] for split in json.loads(render(found, "json"))["splits"]] == [None] * 4


@pytest.mark.parametrize("file", ["cell.json", "attempts.jsonl", "cost.json", "state.json", "result.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"device": 3, "time": {}, "spec": 1}\n'])
def test_damaged_files_never_end_it(file: str, content: str, lab: Lab) -> None:
    (lab.runs[0].path / file).write_text(content)
    assert render(described(lab), "md").count("\n1. ") == 1


def test_every_option_of_a_section_is_said() -> None:
    """What is not written out is appended under its key, so that an option added later can't be missed."""
    plain = Optimizer(name="adamw", poly_power=0, warmup=7, clip_norm=2.5, backbone_lr_factor=0.5)
    words = optimizer_words({**plain.model_dump(mode="json"), "new_option": 3})
    assert words == (
        "AdamW at a learning rate of 0.0025, weight decay 0.0005, a constant learning rate, times 0.5 in the backbone, 7 "
        "steps of linear warm-up, gradients clipped to norm 2.5, new_option 3"
    )
    schedule = Schedule(iterations=40000, accumulate=2).model_dump(mode="json")
    assert schedule_words(schedule) == (
        "40,000 iterations with 10 labelled and 10 unlabelled images a step in 2 micro-batches (sampling replacement)"
    )
    assert options({"name": "x", "version": 2, "a": {"b": [1, 2]}, "on": True, "off": False, "not": None}) == (
        "a.b [1, 2], on, no off"
    )


def test_commands_say_where_data_goes_that_is_the_users(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert described(lab).facts["commands"][0] == "python bench.py run small.yaml"  # made by its dataset
    monkeypatch.setattr(registry.get("dataset", "toy"), "needs_root", True)
    assert described(lab).facts["commands"] == [
        "python bench.py run small.yaml --data toy=DIR",
        "python bench.py table small.yaml",
    ]


def test_formats_escape_what_is_markup_there(lab: Lab, tmp_path: Path) -> None:
    found = described(lab, sets=("optimizer.lr=0.1",))
    markdown, latex, data = render(found, "md"), render(found, "latex"), json.loads(render(found, "json"))
    assert r"## Reproducibility: Fifty % of_it \& more" in markdown and r"a \[bad\] thing_1" in markdown
    assert lab.plan.cells[0].cell.split_sha256 in markdown
    assert r"\section*{Reproducibility: Fifty \% of\_it \& more}" in latex and r"{[}bad] thing\_1" in latex
    assert data["commands"][1] == "python bench.py table small.yaml --set optimizer.lr=0.1"
    assert data["passages"].keys() == {passage.title for passage in found.passages}
    assert [item["question"] for item in data["checklist"]] == [item.question for item in found.items]
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    if compiler := shutil.which("pdflatex"):
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}" + latex + "\\end{document}"
        (tmp_path / "d.tex").write_text(document)
        subprocess.run([compiler, "-halt-on-error", "d.tex"], cwd=tmp_path, check=True, capture_output=True)
