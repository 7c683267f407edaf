"""log.txt tells the training: each line of losses, each evaluation, and where an attempt begins."""

from __future__ import annotations

import re

import pytest

from bench.run.journal import Journal


def test_lines_hold_the_figures_of_their_step(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(100, 0)
    journal.log({"step": 50, "lr": 0.0025, "losses": {"ce": 1.25, "unsup": 0.5}, "logged": {"confident share": 0.75}})
    journal.log_timing({"step": 50, "seconds_per_step": 0.25, "peak_rss_bytes": 2_000_000_000})
    journal.log({"step": 60, "eval": {"miou": 45.678}, "holdout": {"miou": 40.0}})
    Journal(100, 60)
    lines = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "step 0/100: begins",
        "step 50/100: loss 1.75 (ce 1.25, unsup 0.5), lr 0.0025, confident share 0.75, 4.00 it/s, peak memory 2.00 GB",
        "step 60/100: evaluation: mIoU 45.68, 40.00 on held-out images",
        "step 60/100: goes on from its checkpoint",
    ]
