"""Modules that take seconds to import: those that a run will use are named, and nothing else imports them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.files import REPOSITORY
from bench.plan.jobs import make_jobs
from bench.plan.preflight import modules_of
from bench.plan.request import Request
from bench.plan.summary import make_plan
from tests.conftest import GRID

TAKES_A_STEP = """
import sys
from pathlib import Path
from bench.plan.request import Request
from bench.plan.summary import make_plan
from tests.benchmarks.subjects import Subject
request = Request(sys.argv[1], (), (), Path(sys.argv[2]))
Subject(make_plan(request).cells[0], request).loop()
print(*sorted({"torchvision", "timm"} & sys.modules.keys()))
"""


def grid(folder: Path, network: dict[str, object]) -> Request:
    content = yaml.safe_load(GRID)
    content["recipe"]["network"] = network
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    return Request(str(path), (), (), folder / "store")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"name": "deeplabv3plus", "backbone": "tiny"}, ()),
        ({"name": "deeplabv3plus", "backbone": "resnet18"}, ("torchvision",)),
        ({"name": "deeplabv3plus", "backbone": "timm/resnet10t"}, ("timm",)),
        ({"name": "mask_classifier", "backbone": "timm/resnet10t"}, ("timm", "torchvision")),
        ({"name": "dpt", "backbone": "timm/vit_small_patch14_dinov2"}, ("timm",)),
    ],
)
def test_a_job_names_what_its_network_imports(
    tmp_path: Path, network: dict[str, object], expected: tuple[str, ...]
) -> None:
    request = grid(tmp_path, network)
    plan = make_plan(request)
    (job,), _ = make_jobs(plan, plan.cells, request, retry=False)
    assert job.modules == modules_of(plan.cells[0].cell) == expected


def test_a_step_on_tiny_imports_none_of_them(tmp_path: Path) -> None:
    request = grid(tmp_path, {"name": "deeplabv3plus", "backbone": "tiny"})
    command = [sys.executable, "-c", TAKES_A_STEP, request.grid, str(request.store)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
