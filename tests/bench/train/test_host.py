from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.train import host
from bench.train.host import Rows, decoding_threads

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("cores", "device", "wanted", "threads"), [(8, CUDA, 0, 7), (8, CPU, 0, 2), (1, CUDA, 0, 2), (8, CUDA, 3, 3)]
)
def test_a_gpu_gets_all_cores_but_one(
    monkeypatch: pytest.MonkeyPatch, cores: int, device: torch.device, wanted: int, threads: int
) -> None:
    monkeypatch.setattr(host, "usable_cores", lambda: cores)
    assert decoding_threads(device, wanted) == threads


def test_rows_become_a_batch_whatever_their_order() -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    rows = Rows(3, CPU)
    for index in (2, 0, 1):
        rows.put(index, arrays[index])
    np.testing.assert_array_equal(rows.tensor().numpy(), arrays)


def test_arrays_of_other_shapes_are_refused_though_they_could_be_broadcast() -> None:
    rows = Rows(2, CPU)
    rows.put(0, np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"\(4, 5\) and \(1, 5\)"):
        rows.put(1, np.zeros((1, 5), np.uint8))
