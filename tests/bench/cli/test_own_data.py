"""A folder of one's own, from `data init` to a planned grid; what would make a score meaningless is refused there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from bench.cli.app import app
from bench.data.content import content_of
from bench.errors import BenchError
from bench.seeds import rng


def draw(root: Path, name: str, masked: bool = True) -> None:
    """Write a photograph, and a mask with three values."""
    labels = np.kron(rng(0, name).integers(0, 3, (3, 4)), np.ones((4, 4))).astype(np.uint8)
    for folder in ("photos", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    noise = rng(1, name).integers(0, 99, (12, 16, 3)) + 60 * labels[..., None]
    Image.fromarray(noise.astype(np.uint8)).save(root / f"photos/{name}.jpg")
    if masked:
        Image.fromarray(labels).save(root / f"labels/{name}.png")


def bench(*arguments: str, code: int = 0) -> str:
    """Return what a verb prints; of bad input, which is one line and exit code 2, that line."""
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, BenchError):
        assert code == 2 and "\n" not in str(result.exception)
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for i in range(16):
        draw(tmp_path / "streets", f"IMG ({i})", masked=i < 10)
    return tmp_path / "streets"


def test_from_a_folder_to_a_planned_grid(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = bench("data", "init", str(mine))
    assert "train: 8 images with a mask, 6 without" in said and "val: 2 images with a mask" in said
    block, data = mine / "dataset.yaml", f"streets={mine}"
    report = json.loads(bench("data", "check", "--grid", str(block), "--data", data, "--json"))
    assert report["problems"] == [] and report["annotated"] == {"train": 8, "val": 2}
    options = ["--data", data, "--store", str(tmp_path / "runs"), "--json"]
    manifest = json.loads(bench("split", "--grid", str(block), "few_labels=4", *options))
    assert len(manifest["labelled"]) == 4 and len(manifest["unlabelled"]) == 10
    recipe = {**yaml.safe_load(block.read_text()), "network": {"deeplabv3plus": {"backbone": "tiny"}}}
    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump({"recipe": recipe, "axes": {"protocol": [{"few_labels": 4}], "seed": [0]}}))
    planned = json.loads(bench("plan", str(grid), *options))
    assert planned["totals"] == {"pending": 1} and planned["splits"] == [manifest["sha256"]]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))  # in which the folder lies under its name
    assert json.loads(bench("plan", str(grid), *options[2:]))["splits"] == [manifest["sha256"]]
    checked = json.loads(bench("data", "check", "--grid", str(grid), "--json"))
    assert checked["counts"] == report["counts"]


def test_what_would_be_meaningless_is_refused(mine: Path, tmp_path: Path) -> None:
    bench("data", "init", str(mine))
    grid = tmp_path / "grid.yaml"
    recipe = {**yaml.safe_load((mine / "dataset.yaml").read_text()), "network": {"deeplabv3plus": {"backbone": "tiny"}}}
    grid.write_text(yaml.safe_dump({"recipe": recipe, "axes": {"protocol": ["full"], "seed": [0]}}))
    options = ["--data", f"streets={mine}", "--store", str(tmp_path / "runs")]
    lists = mine / "splits"
    train = (lists / "train.txt").read_text().splitlines()
    scored = next(i for i in train if (mine / f"labels/{i}.png").exists())
    (lists / "val.txt").write_text((lists / "val.txt").read_text() + f"{scored}\n")
    for verb in ("plan", "run"):
        said = bench(verb, str(grid), *options, code=2)
        assert f"1 of 3 val images are training images too ({scored})" in said
    allowed = bench("plan", str(grid), *options, "--set", "dataset.overlap=allow")
    assert f"note: dataset 'folder': 1 of 3 val images are training images too ({scored}); allowed" in allowed


def test_files_without_a_dataset(tmp_path: Path) -> None:
    assert "data init DIR" in bench("data", "check", "streets", code=2)
    assert "name a dataset" in bench("data", "check", code=2)
    assert "no such grid file" in bench("data", "check", "--grid", "none.yaml", code=2)
    (tmp_path / "a.yaml").write_text("dataset: 3\n")
    assert "expected a block" in bench("data", "check", "--grid", str(tmp_path / "a.yaml"), code=2)
    assert "no such folder" in bench("data", "init", str(tmp_path / "none"), code=2)


def test_what_cells_need_is_found_before_the_first_one_starts(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("data", "init", str(mine))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    network = {"deeplabv3plus": {"backbone": "resnet18", "weights": "imagenet"}}
    recipe = {**yaml.safe_load((mine / "dataset.yaml").read_text()), "network": network}
    grid, store = tmp_path / "grid.yaml", tmp_path / "runs"
    grid.write_text(yaml.safe_dump({"recipe": recipe, "axes": {"protocol": ["full"], "seed": [0, 1]}}))
    options = [str(grid), "--data", f"streets={mine}", "--store", str(store)]
    missing = (
        f"error: {tmp_path}/weights/resnet18-f37072fd.pth is missing: run `python bench.py weights fetch resnet18`"
    )
    for verb in ("plan", "plan", "run"):  # planned anew, then from the kept plan
        result = CliRunner().invoke(app, [verb, *options])
        assert result.exit_code == 2 and result.stderr.startswith(missing) and result.stderr.count("\n") == 1
        assert not result.stdout and not list(store.glob("*/cell.json"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/resnet18-f37072fd.pth").touch()  # what is in it is for the cell to say
    planned = json.loads(bench("plan", *options, "--json"))["cells"]
    (tmp_path / "weights/resnet18-f37072fd.pth").unlink()
    for row in planned:  # what is done needs nothing any more
        (store / row["id"]).mkdir()
        (store / row["id"] / "result.json").write_text("{}")
    bench("plan", *options)


def test_check_decodes_everything_once(mine: Path, tmp_path: Path) -> None:
    bench("data", "init", str(mine))
    network = {"deeplabv3plus": {"backbone": "tiny"}}
    recipe = {**yaml.safe_load((mine / "dataset.yaml").read_text()), "network": network}
    grid, store = tmp_path / "grid.yaml", tmp_path / "runs"
    grid.write_text(yaml.safe_dump({"recipe": recipe, "axes": {"protocol": ["full"], "seed": [0]}}))
    options = [str(grid), "--data", f"streets={mine}", "--store", str(store)]
    bench("plan", *options, "--check")
    assert len(list((store / ".cache/checks").iterdir())) == 1  # so that it isn't decoded again
    image = sorted((mine / "photos").iterdir())[0]
    image.write_bytes(image.read_bytes()[:-200])  # its header is as it was
    content_of.cache_clear()  # as in a new process
    bench("plan", *options)
    for verb in ("plan", "run"):
        result = CliRunner().invoke(app, [verb, *options, "--check"])
        assert result.exit_code == 2 and not list(store.glob("*/cell.json"))
        assert result.stderr.startswith(f"error: dataset 'folder': 1 problem: {image}: ")
