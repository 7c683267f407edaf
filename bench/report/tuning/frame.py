"""The trials of a tuned grid in its frame of runs: who is a trial, with which setting and score, and what was chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from bench.report.tuning.standing import searched, stated
from bench.store.summary import Summary
from bench.store.trials import DIVERGED


def with_trials(runs: pd.DataFrame, store: Path, summary: Summary) -> pd.DataFrame:
    """Return a frame of trials and reported runs with four more columns.

    Args:
        runs: from :func:`bench.report.frame.load`, of trials and cells.
        store: the run store.
        summary: of a tuned grid.

    Returns:
        `role` is `trial` or `reported`; `settings` the searched hyperparameters as JSON; `trial_score` a trial's last known
        mIoU in % on the images of the choice, `trial_state` where it is; `trials` the number compared behind a reported run.
    """
    known: dict[str, dict[str, object]] = {}
    for one in searched(store, summary):
        for trial, standing in zip(one.group.trials, one.found.standings, strict=True):
            scores = [score for score in standing.scores if score is not None and score != DIVERGED]
            for cell in trial.cells:
                known.setdefault(
                    cell,
                    {
                        "role": "trial",
                        "settings": json.dumps(trial.settings, sort_keys=True),
                        "trial_score": scores[-1] if scores else None,
                        "trial_state": stated(standing, one.group),
                    },
                )
        for cell in one.group.reported:
            chosen = one.chosen
            settings = None if chosen is None else json.dumps(chosen.settings, sort_keys=True)
            known[cell] = {"role": "reported", "settings": settings, "trials": one.found.compared}
    more = pd.DataFrame([known.get(str(cell), {}) for cell in runs["id"]], index=runs.index)
    return pd.concat([runs, more], axis=1)
