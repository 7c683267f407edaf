"""AdamW on CUDA: no update waits for the device, whatever checkpoint it goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TOY
from tests.noop_cuda import call

GRID = """
recipe:
  dataset: toy
  network: {name: deeplabv3plus, backbone: tiny}
  schedule: {iterations: 4}
  optimizer: {name: adamw}
  numerics: {tf32: true}
axes: {method: [supervised], protocol: [{few_labels: 4}], seed: [0]}
"""


def test_no_update_waits_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", str(TOY))
    grid = tmp_path / "adamw.yaml"
    grid.write_text(GRID)
    found = call("tests.gpu.adamw", str(grid), str(tmp_path))
    environment = found.pop("environment")
    assert found == {"new": [0, 0], "saved": 0, "on the device": 0, "fused": 0}
    assert environment["tf32_convolutions"] and not environment["tf32"], "matrix products stay exact"
    assert environment["deterministic_algorithms"] and not environment["deterministic_warn_only"]
    assert environment["device"] not in ("", "cpu")
