"""Fixtures that every room's tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.machine import let_threads_sleep

TOY = Path(__file__).parent / "toy.py"
# Also for the child processes of tests; on the no-op CUDA runtime, tests of the device `cuda` need plug-ins more.
os.environ["BENCH_PLUGINS"] = os.pathsep.join(filter(None, [str(TOY), os.environ.get("BENCH_TEST_PLUGINS")]))
# Before torch is imported, here and in child processes: tests run side by side, on networks too small for two threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
let_threads_sleep()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out tests by file; see :mod:`tests.schedule`."""
    from tests.schedule import FileScheduling

    config.option.loadscopereorder = False
    return FileScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin what takes longest first, where several workers share the tests."""
    if hasattr(config, "workerinput"):
        from tests.schedule import order

        items[:] = order(items)


GRID = """
recipe:
  dataset: toy
  network: {name: deeplabv3plus, backbone: tiny}
  augmentation: {reco: {crop_size: 32, scale: [0.75, 1.5]}}
  schedule: {iterations: 8, batch: {labelled: 2, unlabelled: 2}}
  optimizer: {lr: 0.05, lr_every: 1}
  evaluation: {every: 3}
axes:
  method: [supervised]
  protocol: [{few_labels: 4}]
  seed: [0]
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and data of a test in its own folder."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.delenv("BENCH_STORE", raising=False)


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    """A grid of one short cell on the toy dataset."""
    path = tmp_path / "small.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    """Undo what a test before has set."""
    import sys

    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    yield
