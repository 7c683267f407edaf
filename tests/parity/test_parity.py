"""The authors' code and ours side by side; skipped by name where ``BENCH_PARITY`` gives no checkout."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.parity import cps, others, reco, reco_network, reco_steps, u2pl, unimatch
from tests.parity.checkouts import checkout, missing

EXACT, SINGLE = 1e-12, 1e-6  # float64 on both sides; float32 on one side
COMPARED: list[tuple[str, Callable[[], reco.Found], float]] = [
    ("reco", reco.losses, EXACT),
    ("reco", reco_network.network_outputs, EXACT),
    ("reco", reco_network.splits, 0),
    ("reco", reco_network.miou, SINGLE),
    ("reco", reco_steps.schedule, EXACT),
    ("reco", reco_steps.steps, 1e-11),
    ("classmix", others.classmix_loss, SINGLE),
    ("classmix", others.classmix_mask, 0),
    ("cutmix-semisup-seg", others.teacher, 1e-5),
    ("unimatch", unimatch.fixmatch, EXACT),
    ("unimatch", unimatch.unimatch, EXACT),
    ("torchsemiseg", cps.cps, EXACT),
    ("u2pl", u2pl.reliable, EXACT),
    ("u2pl", u2pl.contrast, SINGLE),
]


@pytest.mark.parametrize(("name", "compare", "most"), COMPARED, ids=[f"{n}-{c.__name__}" for n, c, _ in COMPARED])
def test_side_by_side(name: str, compare: Callable[[], reco.Found], most: float) -> None:
    if checkout(name) is None:
        pytest.skip(missing(name))
    assert {what: value for what, value in compare().items() if not value <= most} == {}
