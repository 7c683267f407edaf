"""``report`` and ``serve`` on real runs: the file, its pictures, and what is said where there are none."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from bench.cli.app import app
from bench.data.roots import DataRoots
from bench.files import REPOSITORY
from bench.page.pictures import BYTES, Mask, Predicted, Shown, galleries
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.report.figures.qualitative import coloured
from bench.run.worker import run_cell
from bench.store.run import Run
from bench.train.reevaluate import Evaluator
from tests.conftest import GRID

SIZE = 40  # of tests/toy.py, which isn't imported: a test that loads it as a plug-in would register it twice
PALETTE = ((0, 0, 0), (255, 255, 0), (0, 0, 255))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """Two methods, of which one seed is done each; the other seed is not run."""
    folder = tmp_path_factory.mktemp("page")
    content = yaml.safe_load(GRID)
    content["axes"] |= {"method": ["supervised", "mean_teacher"], "seed": [0, 1]}
    content["resources"] = {"threads": 1, "device": "cpu"}
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(folder / "grid.yaml"), (), (), folder / "store")
    plan = make_plan(request)
    for job in make_jobs(plan, [cell for cell in plan.cells if cell.cell.seeds.split == 0], request, retry=False)[0]:
        run_cell(job)
    return request


def pictures(html: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the pictures of a page by what they are said to show, each (H, W, 3)."""
    found = re.findall(r'<img class="\w+" src="data:image/\w+;base64,([^"]+)"[^>]*alt="([^"]+)"', html)
    return {alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data, alt in found}


def test_the_page_shows_what_each_run_predicts_pixel_by_pixel(ran: Request, tmp_path: Path) -> None:
    arguments = ["report", ran.grid, "--store", str(ran.store), "-o", str(tmp_path), "--images", "2", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["done"], facts["cells"], facts["without_pictures"]) == (2, 4, [])
    html = Path(facts["file"]).read_text()
    assert Path(facts["file"]).name == "grid-report.html" and len(html.encode()) == facts["bytes"]
    shown = pictures(html)
    for path in ran.store.glob("*/result.json"):
        assert html.count(f'href="#cell-{path.parent.name}"') == 2 and f'id="cell-{path.parent.name}"' in html
    assert len(shown) == 2 * (2 + 2)  # images × (photo, truth, two methods)
    for run in (Run(path.parent) for path in ran.store.glob("*/result.json")):
        evaluator = Evaluator.open(run, "last", DataRoots.parse(()))
        for name in ("val00", "val05"):  # the first and the last of six
            (predicted,) = (
                pixels for alt, pixels in shown.items() if alt.startswith(evaluator.cell.method.name) and name in alt
            )
            np.testing.assert_array_equal(predicted, coloured(evaluator.predict(name), PALETTE))
            truth = coloured(evaluator.reader.mask(name), PALETTE)
            np.testing.assert_array_equal(shown[f"ground truth of {name}"], truth)
            assert shown[name].shape == (SIZE, SIZE, 3)


def test_without_weights_there_is_a_page_without_pictures(ran: Request, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(ran.store, store)
    for weights in store.glob("*/weights-*.pt"):
        weights.unlink()
    result = CliRunner().invoke(app, ["report", ran.grid, "--store", str(store), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "no sample predictions: none of 4 cells is done and has kept its weights here" in result.stdout
    assert "data:image" not in (tmp_path / "grid-report.html").read_text()


def test_pictures_get_smaller_until_they_fit() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (600, 900, 3)).astype(np.uint8)
    mask = rng.integers(0, 3, (600, 900)).astype(np.uint8)
    one = Predicted("a", noise, mask, [Mask("", f"method {n}", mask, "mIoU 1.0") for n in range(30)])
    (gallery,) = galleries([Shown("toy", ("a", "b", "c"), PALETTE, [one])], most=BYTES // 5)
    (sample,) = gallery.samples
    every = [sample.image, sample.truth, *(prediction.picture for prediction in sample.predictions)]
    assert sum(len(picture.uri) for picture in every) <= BYTES // 5
    assert sample.image.width < 512
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(sample.truth.uri.partition(",")[2]))).convert("RGB"))
    assert {tuple(pixel) for pixel in shown.reshape(-1, 3).tolist()} <= set(PALETTE)  # no colour between two classes


def test_serve_answers_until_it_is_interrupted_and_writes_nothing(ran: Request) -> None:
    before = {path: path.stat().st_mtime_ns for path in ran.store.glob("[!.]*/*")}
    command = [
        sys.executable,
        str(REPOSITORY / "bench.py"),
        "serve",
        ran.grid,
        "--store",
        str(ran.store),
        "--port",
        "0",
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Whoever runs these tests in the background has them ignore INT, and what they start with them.
    serving = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert serving.stdout is not None
    line = serving.stdout.readline()
    port = int(re.findall(r"http://localhost:(\d+)/", line)[0])
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    text = answer.read().decode()
    serving.send_signal(signal.SIGINT)
    rest, _ = serving.communicate(timeout=30)
    assert answer.status == 200 and 'data-live="5.0"' in text and "connect-src &#39;self&#39;" in text
    assert (serving.returncode, rest) == (0, "ended\n")
    assert {path: path.stat().st_mtime_ns for path in ran.store.glob("[!.]*/*")} == before
