"""A run's predictor taken away: its masks are those that `evaluate` scores, bit for bit; a folder gives it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from bench.arrays import UInt8
from bench.cli.app import app
from bench.data.roots import DataRoots
from bench.errors import BenchError
from bench.export.sources import load_exported
from bench.files import read_json, write_json
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.worker import run_cell
from bench.spec.sections import OtherEvaluation
from bench.store.run import Run, State
from bench.train import evaluate as evaluator_module
from bench.train.metrics import confusion_matrices
from bench.train.reevaluate import OWN, Evaluator
from tests.conftest import GRID

SLIDING = OtherEvaluation(mode="sliding", size=(24, 24), stride=(12, 16))


def bench(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    if isinstance(result.exception, BenchError):
        assert code == 2 and "\n" not in str(result.exception)
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run, prepared to 36 x 52, and its validation images as files."""
    folder = tmp_path_factory.mktemp("export")
    content = yaml.safe_load(GRID)
    content["recipe"]["dataset"] = {"name": "toy", "size": [36, 52]}
    content["resources"] = {"threads": 1, "device": "cpu"}
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(folder / "grid.yaml"), (), (), folder / "store")
    plan = make_plan(request)
    (job,), _ = make_jobs(plan, plan.cells, request, retry=False)
    assert run_cell(job) is State.DONE
    run = Run(folder / "store" / job.cell_id)
    evaluator = Evaluator.open(run, "last", DataRoots())
    (folder / "images").mkdir()
    for image_id in evaluator.ids:
        Image.fromarray(evaluator.reader.image(image_id)).save(folder / "images" / f"{image_id}.png")
    return run, folder / "images"


def scored(run: Run, asked: OtherEvaluation, monkeypatch: pytest.MonkeyPatch) -> dict[str, UInt8]:
    """Return the masks that an evaluation counts, by image."""
    found: list[Tensor] = []
    count = confusion_matrices

    def watched(predicted: Tensor, label: Tensor, classes: int) -> Tensor:
        found.extend(predicted.cpu())
        return count(predicted, label, classes)

    evaluator = Evaluator.open(run, "last", DataRoots(), asked=asked)
    with monkeypatch.context() as patch:
        patch.setattr(evaluator_module, "confusion_matrices", watched)
        evaluator.score()
    return {name: mask.numpy() for name, mask in zip(evaluator.ids, found, strict=True)}


def masks_in(folder: Path) -> dict[str, UInt8]:
    return {path.stem: np.array(Image.open(path)) for path in sorted((folder / "masks").iterdir())}


@pytest.mark.parametrize(
    ("asked", "options"), [(OWN, ()), (SLIDING, ("--mode", "sliding", "--size", 24, 24, "--stride", 12, 16))]
)
def test_predicted_masks_are_those_that_evaluate_scores(
    trained: tuple[Run, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: OtherEvaluation,
    options: tuple[Any],
) -> None:
    run, images = trained
    wanted = scored(run, asked, monkeypatch)
    bench("predict", run.path, images, "-o", tmp_path / "run", *options)
    bench("export", run.path, "-o", tmp_path / "taken", "--no-onnx")
    bench("predict", tmp_path / "taken", images, "-o", tmp_path / "folder", "--probabilities", *options)
    for found in (masks_in(tmp_path / "run"), masks_in(tmp_path / "folder")):
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert len({mask.tobytes() for mask in wanted.values()}) > 1, "masks that are all the same prove nothing"
    for name, mask in wanted.items():
        shares = np.load(tmp_path / "folder" / "probabilities" / f"{name}.npy").astype(np.float32)
        assert shares.shape == (3, 36, 52) and np.allclose(shares.sum(0), 1, atol=3e-3)
        chosen = np.take_along_axis(shares, mask[None].astype(int), 0)[0]
        assert (chosen >= shares.max(0) - 1e-3).all()


def test_three_lines_of_python_and_what_the_folder_says(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, images = trained
    bench(
        "export", run.id, "--store", run.path.parent, "-o", tmp_path / "taken", "--no-onnx", "--eval-results", "a/toy"
    )
    model = load_exported(tmp_path / "taken")
    image = np.array(Image.open(images / "val00.png").resize((80, 61)))
    mask = model.predict(image)
    assert mask.shape == (61, 80) and mask.dtype == np.uint8
    assert model.classes == ("ground", "bright", "dark") and model.palette[1] == (255, 255, 0)
    small = np.array(Image.fromarray(image).resize((52, 36), Image.Resampling.BILINEAR))
    assert np.array_equal(mask[::60, ::79], model.predictor.mask(small)[::35, ::51])  # the corners
    config, result = read_json(tmp_path / "taken" / "config.json"), read_json(run.result)
    assert config["preparation"] == {"size": [36, 52]} and config["network"]["backbone"] == "tiny"
    assert config["normalisation"]["mean"] == [0.485, 0.456, 0.406]
    assert config["trained"]["miou"] == result["last"]["miou"]
    text = (tmp_path / "taken" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "image-segmentation" and "{{" not in text
    assert f"mIoU {result['last']['miou']:.2f} %" in text and run.id in text and "| 1 | bright | #ffff00 |" in text
    (entry,) = parse_eval_result_entries(yaml.safe_load((tmp_path / "taken/.eval_results/a_toy.yaml").read_text()))
    assert entry.dataset_id == "a/toy" and entry.value == round(result["last"]["miou"], 2)


def test_masks_and_overlays_are_as_large_as_the_image(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, images = trained
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.open(images / "val01.png").resize((90, 70)).save(tmp_path / "in" / "deep" / "photo.jpg")
    told = json.loads(bench("predict", run.path, tmp_path / "in", "-o", tmp_path / "out", "--json"))
    assert told["classes"][2] == {"index": 2, "name": "dark"} and told["images"] == 1
    mask, over = (Image.open(tmp_path / f"out/{name}") for name in ("masks/deep/photo.png", "overlays/deep/photo.jpg"))
    assert mask.size == over.size == (90, 70) and mask.mode == "P" and (mask.getpalette() or [])[3:6] == [255, 255, 0]
    bench("predict", run.path, tmp_path / "in", "-o", tmp_path / "small", "--evaluated-size", "--no-overlays")
    assert Image.open(tmp_path / "small/masks/deep/photo.png").size == (52, 36)
    assert not (tmp_path / "small/overlays").exists()


def test_bad_input_is_one_line_and_writes_nothing(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, images = trained
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    for options in ((), ("--force",)):
        assert "something else" in bench("export", run.path, "-o", tmp_path / "full", "--no-onnx", *options, code=2)
    taken = tmp_path / "taken"
    bench("export", run.path, "-o", taken, "--no-onnx")
    assert "--force" in bench("export", run.path, "-o", taken, "--no-onnx", code=2)
    bench("export", run.path, "-o", taken, "--no-onnx", "--force")
    assert (
        sorted(path.name for path in tmp_path.iterdir()) == ["cache", "full", "taken"]
        or not (tmp_path / "cache").exists()
    )
    bench("predict", taken, images, "-o", tmp_path / "out")
    assert "--force" in bench("predict", taken, images, "-o", tmp_path / "out", code=2)
    assert "no such image" in bench("predict", taken, tmp_path / "none.png", "-o", tmp_path / "o", code=2)
    weights = load_file(taken / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, taken / "model.safetensors")
    assert "not the weights of its config.json" in bench("predict", taken, images, "-o", tmp_path / "o", code=2)
    config = read_json(taken / "config.json")
    write_json(taken / "config.json", {**config, "version": 99})
    assert "newer version (99)" in bench("predict", taken, images, "-o", tmp_path / "o", code=2)
    write_json(taken / "config.json", {**config, "network": {"name": "deeplabv4"}})
    assert "unknown network 'deeplabv4'" in bench("predict", taken, images, "-o", tmp_path / "o", code=2)
    assert not (tmp_path / "o").exists()


def test_a_run_without_its_data_is_taken_too(trained: tuple[Run, Path], tmp_path: Path) -> None:
    """A file named by the config is never opened: the weights in it are the only ones."""
    run, images = trained
    taken = tmp_path / "taken"
    bench("export", run.path, "-o", taken, "--no-onnx", "--select", "best")
    config = read_json(taken / "config.json")
    assert "weights" not in config["network"] and config["trained"]["weights"] == "best"
    write_json(taken / "config.json", {**config, "network": {**config["network"], "weights": "/etc/passwd"}})
    bench("predict", taken, images / "val00.png", "-o", tmp_path / "out")
