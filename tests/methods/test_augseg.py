"""AugSeg step by step against plain PyTorch, and its measure of certainty."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.arrays import IGNORE_INDEX
from bench.seeds import rng
from methods.augseg import AugSeg, certainty
from methods.mixing import draw_boxes
from tests.methods.fakes import batch, method
from tests.methods.test_unimatch import labels_of, large, strong_by_hand


def made(**options: Any) -> AugSeg:
    found = method("augseg", **{"threshold": 0.3, **options})
    assert isinstance(found, AugSeg)
    return found


def test_certainty_by_hand() -> None:
    scores = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)).mul(2).softmax(1)
    inside = torch.ones(2, 3, 5, dtype=torch.bool)
    inside[1, 1:] = False
    for i, rows in ((0, 3), (1, 1)):
        values = []
        for y in range(rows):
            for x in range(5):
                p = scores[i, :, y, x].tolist()
                values.append(max(p) * (1 + sum(v * math.log(v) for v in p) / math.log(4)))
        assert float(certainty(scores, inside)[i]) == pytest.approx(sum(values) / len(values), rel=1e-5)
    sure, unsure = torch.zeros(1, 4, 1, 1), torch.full((1, 4, 1, 1), 0.25)
    sure[0, 2] = 1
    assert float(certainty(sure, inside[:1, :1, :1])) == 1
    assert float(certainty(unsure, inside[:1, :1, :1])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("inject", [True, False])
def test_every_pixel_of_the_mixed_images_by_hand(inject: bool) -> None:
    ours, item = made(inject=inject), batch()
    unlabelled = item.unlabelled
    assert unlabelled is not None
    logits = copy.deepcopy(ours.teacher)(unlabelled.weak)
    sure = certainty(large(logits).softmax(1), torch.ones(4, 32, 32, dtype=torch.bool))
    own = strong_by_hand(unlabelled.weak, *labels_of(logits))
    candidates = [values.clone() for values in own]
    draw, injected = rng(item.seed, "mix"), 0
    if inject:
        order = np.resize(draw.permutation(4), 4)
        chosen = draw.random(4, np.float32) > sure.numpy()
        boxes = draw_boxes("augseg", 4, 32, 32, draw)[:, 0]
        for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
            if chosen[i]:
                injected += 1
                area = slice(top, bottom), slice(left, right)
                label = item.labelled.label[order[i]]
                candidates[0][i][(slice(None), *area)] = item.labelled.image[order[i]][(slice(None), *area)]
                candidates[1][i][area], candidates[2][i][area] = label[area], (label != IGNORE_INDEX).float()[area]
        assert injected > 0
    expected = [values.clone() for values in own]
    for i, (top, left, bottom, right) in enumerate(draw_boxes("augseg", 4, 32, 32, draw)[:, 0].tolist()):
        area = slice(top, bottom), slice(left, right)
        for to, source in zip(expected, candidates, strict=True):
            where = (slice(None), *area) if to.ndim == 4 else area
            to[i][where] = source[(i + 1) % 4][where]
    target = ours.unlabelled_target(item)
    for found, wanted in zip((target.image, target.label, target.confidence), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert float(ours.take_logged()["certainty"]) == pytest.approx(float(sure.mean()), rel=1e-5)


def test_the_loss_is_that_of_confident_pixels_over_valid_ones() -> None:
    ours, item = made(unsupervised_weight=0.5), batch()
    target = copy.deepcopy(ours).unlabelled_target(item)
    student = copy.deepcopy(ours.student)
    logits = student(torch.cat((item.labelled.image, target.image)))[4:]
    loss = F.cross_entropy(large(logits), target.label, ignore_index=IGNORE_INDEX, reduction="none")
    valid = target.label != IGNORE_INDEX
    expected = 0.5 * (loss * ((target.confidence >= 0.3) & valid)).sum() / valid.sum()
    torch.testing.assert_close(ours.losses(item)["unsupervised"], expected, rtol=1e-5, atol=1e-6)
