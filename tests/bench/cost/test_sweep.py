"""Sweeps: the file, settings that don't fit, slopes, the frame and its plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.cost.sweep import Setting, check, measure
from bench.cost.sweep_spec import read_spec, result_path, slope
from bench.errors import BenchError
from bench.files import write_json

SPEC = """
memory:
  limit_gb: 0.05
  series:
    - {label: dense, probe: pixel_contrast, set: {batch: 1, size: [32, 64], channels: 4, classes: 3},
       axes: {num_pixels: [512, 1024, 2048]}}
"""


def fake(probe: str, options: dict[str, Any]) -> Setting:
    return Setting(probe, options, "fake", "cpu", 10**9)


def test_slope_of_a_power() -> None:
    assert slope([(x, 3 * x**2) for x in (1.0, 10.0, 70.0)]) == pytest.approx(2)
    assert slope([(1, 2), (1, 3)]) is None
    assert slope([(1, 2), (2, 0)]) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("memory: {series: []}", "memory.series"),
        ("memory: {serie: []}", "did you mean 'series'"),
        ("memory: {series: [{label: a, probe: reco, axes: {num_queries: []}}]}", "at least one value"),
        (
            "memory: {series: [{label: a, probe: reco, axes: {x: [1]}}, {label: a, probe: reco, axes: {x: [1]}}]}",
            "given twice",
        ),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(BenchError, match=says):
        read_spec(str(path))


def test_dense_contrast_holds_whole_matrices_and_regions_hold_none() -> None:
    shape = {"batch": 1, "size": [32, 64], "channels": 4, "classes": 3}
    dense = measure(fake("pixel_contrast", {**shape, "num_pixels": 2048}))
    assert dense["extra_bytes"] >= 4 * 2048**2
    small, large = (
        measure(fake("region_contrast", {**shape, "size": size, "num_regions": 10})) for size in ([8, 8], [64, 64])
    )
    assert small["extra_bytes"] == large["extra_bytes"]
    assert (small["pixels"], large["pixels"]) == (64, 4096)


def test_prediction_is_what_a_probe_takes() -> None:
    import torch

    from bench import registry
    from bench.cost.sweep import _measure

    options: dict[str, Any] = {
        "batch": 1,
        "size": (16, 16),
        "channels": 8,
        "classes": 3,
        "num_queries": 8,
        "num_negatives": 16,
    }
    cls = registry.get("probe", "reco")
    real = _measure(cls(cls.Config(**options), torch.device("cpu")))
    assert measure(fake("reco", options))["extra_bytes"] == pytest.approx(real["extra_bytes"], rel=0.02)


def test_the_verb_keeps_a_frame_that_plot_draws(tmp_path: Path) -> None:
    path, store = tmp_path / "small.yaml", str(tmp_path / "store")
    path.write_text(SPEC)
    runner = CliRunner()
    done = runner.invoke(app, ["memory", str(path), "--mode", "fake", "--store", store, "--json"])
    frame = json.loads(done.stdout)
    assert [r["state"] for r in frame["rows"]] == ["done", "done", "out-of-memory"]
    assert frame["slopes"]["dense"] == pytest.approx(2, abs=0.1)
    drawn = runner.invoke(app, ["plot", "memory", str(path), "--store", store, "--output", str(tmp_path), "--json"])
    assert [Path(f).suffix for f in json.loads(drawn.stdout)["files"]] == [".png", ".svg", ".pdf"]


def test_a_real_setting_that_does_not_fit_is_recorded(tmp_path: Path) -> None:
    path, store = tmp_path / "small.yaml", str(tmp_path / "store")
    path.write_text(SPEC.replace("512, 1024, 2048", "512, 16384").replace("[32, 64]", "[128, 128]"))
    done = CliRunner().invoke(app, ["memory", str(path), "--store", store, "--json"])
    rows = json.loads(done.stdout)["rows"]
    assert [r["state"] for r in rows] == ["done", "out-of-memory"]
    assert rows[1]["pixels"] == 16384


WHOLE = """
memory:
  mode: real
  classes: 3
  limit_gb: 4
  recipe:
    dataset: synthetic
    method: {name: classmix, mix: cutmix}
    network: {name: deeplabv3plus, backbone: tiny}
    augmentation: {reco: {crop_size: 64}}
    protocol: {few_labels: 16}
    schedule: {batch: {labelled: 2, unlabelled: 2}}
  series:
    - {label: dense, probe: pixel_contrast, set: {batch: 4, size: [16, 16], channels: 16, classes: 3},
       step: {method: {name: pixel_contrast, base: cutmix, representation_dim: 16}}, axes: {num_pixels: [64, 1024]}}
    - {label: theirs, probe: reco_authors, needs: NO_SUCH_VARIABLE, axes: {num_queries: [8]}}
"""


@pytest.mark.parametrize("mode", ["real", "fake"])
def test_whole_steps_lie_above_the_recipes_own_and_grow_with_the_loss(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text(WHOLE)
    store = tmp_path / "store"
    kept = result_path(store, str(path))
    kept.parent.mkdir(parents=True)
    earlier = {"series": "theirs", "probe": "reco_authors", "setting": {"num_queries": 8}, "state": "done"}
    write_json(kept, {"rows": [{**earlier, "pixels": 99, "extra_bytes": 5, "method": None}]})
    done = CliRunner().invoke(app, ["memory", str(path), "--mode", mode, "--store", str(store), "--json"])
    frame = json.loads(done.stdout)
    small, large, theirs = frame["rows"]
    assert theirs["pixels"] == 99  # measured where its checkout was, and kept
    base = frame["base"]["peak_bytes"]
    assert base < small["step"]["peak_bytes"] < large["step"]["peak_bytes"]
    # the matrices of all pairs are what the larger one has more; other tensors of the step are the same
    grown = large["step"]["peak_bytes"] - small["step"]["peak_bytes"]
    assert grown == pytest.approx(large["extra_bytes"] - small["extra_bytes"], rel=0.25)
    drawn = CliRunner().invoke(app, ["plot", "memory", str(path), "--store", str(store), "--output", str(tmp_path)])
    assert drawn.exit_code == 0, drawn.output


def test_a_step_needs_a_recipe_and_options_that_exist(tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text(WHOLE.replace("representation_dim", "representation_width"))
    with pytest.raises(BenchError, match=r"memory.series.0.step.*did you mean"):
        check(read_spec(str(path)), str(path))
    path.write_text("memory: {series: [{label: a, probe: reco, step: {}, axes: {num_queries: [1]}}]}")
    with pytest.raises(BenchError, match=r"memory.recipe: is missing"):
        read_spec(str(path))
