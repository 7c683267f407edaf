"""What a predictor would teach, against a count by hand; and that nothing but the diagnosis sees those masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.files import read_jsonl
from bench.run.worker import run_cell
from bench.spec.pseudo_labels import PseudoLabels
from bench.spec.sections import Evaluation, Numerics
from bench.store.run import Run, State
from bench.train.pseudo_labels import diagnose
from bench.train.reader import Reader
from tests.bench.run.test_selection import make_job

CLASSES = ("sky", "road", "cat")


class Rows(nn.Module):
    """Scores that are the image's own channels, times 8."""

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (B, 3, H, W)."""
        return 8 * image


def test_shares_and_precisions_are_counted_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    samples = [
        (rng.integers(0, 256, (9, 7, 3)).astype(np.uint8), rng.choice([0, 1, 2, 255], (9, 7)).astype(np.uint8))
        for _ in range(4)
    ]
    evaluation = Evaluation(pseudo_labels=PseudoLabels(threshold=0.7))
    model = Rows().train()
    found = diagnose(model, samples, CLASSES, evaluation, torch.device("cpu"), Numerics())
    assert model.training
    scores = np.concatenate([image.reshape(-1, 3) / 255 * 8 for image, _ in samples])
    truth = np.concatenate([mask.ravel() for _, mask in samples])
    scores, truth = scores[truth != 255], truth[truth != 255]
    probability, label = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).max(1), scores.argmax(1)
    sure = probability >= 0.7
    right = label == truth
    expected = {
        "pseudo-label mIoU": np.mean(
            [(right & (truth == k)).sum() / ((label == k) | (truth == k)).sum() for k in range(3)]
        ),
        "pseudo-label accuracy": right.mean(),
        "confident share": sure.mean(),
        "confident accuracy": right[sure].mean(),
    }
    for k, name in enumerate(CLASSES):
        expected[f"confident {name}"] = (label[sure] == k).mean()
        expected[f"confident {name} right"] = right[sure & (label == k)].mean()
    assert found == pytest.approx({name: 100 * value for name, value in expected.items()})


def test_what_has_no_pixels_is_left_out() -> None:
    samples = [(np.full((4, 4, 3), 10, np.uint8), np.zeros((4, 4), np.uint8))]
    evaluation = Evaluation(pseudo_labels=PseudoLabels(threshold=0.99))
    found = diagnose(Rows(), samples, CLASSES, evaluation, torch.device("cpu"), Numerics())
    assert found["confident share"] == 0
    assert not {name for name in found if name.startswith("confident ") and name != "confident share"}


def run_of(folder: Path, **evaluation: Any) -> tuple[Run, list[dict[str, Any]]]:
    """Run a cell of ClassMix and return it with its lines of metrics."""
    job = make_job(folder, holdout=0, evaluation=evaluation)
    assert run_cell(job) is State.DONE
    run = Run(Path(job.store) / job.cell_id)
    return run, list(read_jsonl(run.metrics))


def test_a_run_is_the_same_with_its_diagnosis_which_alone_sees_the_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set[str]()
    whole = Reader.__init__

    def noting(self: Reader, dataset: Any, masks_of: Any, *rest: Any) -> None:
        whole(self, dataset, masks_of, *rest)
        if len(self.masks_of) == 3:
            seen.update(self.masks_of)

    plain, lines = run_of(tmp_path / "plain")
    monkeypatch.setattr(Reader, "__init__", noting)
    with_it, more = run_of(tmp_path / "diagnosed", pseudo_labels={"images": 3, "threshold": 0.3})
    assert plain.id == with_it.id
    assert plain.weights("last").read_bytes() == with_it.weights("last").read_bytes()
    assert plain.result.read_bytes() == with_it.result.read_bytes()
    logged = [line for line in more if "eval" in line]
    assert logged and all("pseudo-label mIoU" in line["logged"] for line in logged)
    assert [{k: v for k, v in line.items() if "eval" not in line or k != "logged"} for line in more] == lines
    assert len(seen) == 3
