"""How each setting of a tuned grid was chosen: every trial with its scores, the rule, and what the scores can't tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.report.tuning.standing import Searched, images_said, said_settings, searched, stated
from bench.report.tuning.tables import told_apart
from bench.store.summary import Summary, Tuning
from bench.store.trials import DIVERGED, Standing


def explain(store: Path, summary: Summary) -> list[str]:
    """Return the ranking of each group's trials, in lines; nothing for a grid that isn't tuned."""
    tuning = summary.tuning
    if tuning is None:
        return []
    lines = [_rule(tuning)]
    for one in searched(store, summary):
        lines += ["", *_group(store, tuning, one)]
    return lines


def _rule(tuning: Tuning) -> str:
    text = f"{tuning.trials} trials each, ranked by the mIoU of evaluation '{tuning.rule}' on {images_said(tuning)}"
    if tuning.keep is not None:
        text += f"; at each rung the best {100 * tuning.keep:.0f} %, rounded up, go on"
    return f"{text}; ties go to the earlier trial. Trial 0 is the recipe as written."


def _group(store: Path, tuning: Tuning, one: Searched) -> Iterator[str]:
    chosen = one.found.chosen
    if chosen is not None:
        yield f"{one.name}: trial {chosen}"
    elif one.found.missing:
        yield f"{one.name}: waits for trial {', '.join(map(str, one.found.missing))}"
    else:
        yield f"{one.name}: every trial diverged"
    trials = {trial.number: trial for trial in one.group.trials}
    ranked = one.found.ranking()
    rest = [standing for standing in one.found.standings if standing not in ranked]
    for place, standing in enumerate([*ranked, *rest], 1):
        rank = f"{place}." if standing in ranked else "–"
        mark = " (chosen)" if standing.number == chosen else ""
        settings = said_settings(trials[standing.number])
        state = stated(standing, one.group)
        yield f"  {rank:>3} trial {standing.number}{mark}: {_scores(standing)}, {state}; {settings}"
    if line := told_apart(store, tuning, one):
        yield f"  note: {line}"


def _scores(standing: Standing) -> str:
    known = [score for score in standing.scores if score is not None]
    if not known:
        return "no score"
    return " → ".join("diverged" if score == DIVERGED else f"{score:.2f}" for score in known)
