"""Verdicts by hand."""

from __future__ import annotations

from typing import Any

from bench.report.model import Stat
from bench.report.papers.places import Place
from bench.report.papers.published import Figure
from bench.report.papers.verdicts import (
    DIFFERS,
    NOT_PUBLISHED,
    NOT_RUN,
    OTHER_PROTOCOL,
    OTHER_RECIPE,
    REPRODUCED,
    UNSETTLED,
    verdict,
)
from tests.bench.report.papers.test_verdicts import FIGURE


def stats(*values: float, best: tuple[float, ...] | None = None) -> dict[str, Stat]:
    def stat(found: tuple[float, ...]) -> Stat:
        return Stat(found, sum(found) / len(found) if found else None, None, len(found), "")

    return {"last": stat(values), "best": stat(values if best is None else best)}


def place(miou: float | None, protocol: tuple[str, ...] = (), recipe: tuple[str, ...] = (), **more: Any) -> Place:
    figure = None if miou is None else Figure(paper="p", **{**FIGURE, "miou": miou, **more})
    return Place(figure, (), protocol, recipe)


def said(found: dict[str, Stat], where: Place) -> str:
    return verdict(found, "last", where, 1.0).name


def test_reproduced_is_shown_equivalence_not_a_lack_of_difference() -> None:
    assert said(stats(50.2, 50.0, 50.4), place(50.0)) == REPRODUCED
    assert said(stats(53.2, 53.0, 53.4), place(50.0)) == DIFFERS
    assert said(stats(49.0, 50.0, 51.0), place(50.0)) == UNSETTLED


def test_noise_never_makes_a_reproduction() -> None:
    """A difference of 17 with a deviation of 8.7 passed as two deviations; it isn't even settled."""
    noisy = (67.0 - 8.7, 67.0, 67.0 + 8.7)
    assert said(stats(*noisy), place(50.0)) == UNSETTLED
    order = [REPRODUCED, DIFFERS, UNSETTLED]
    for mean in (50.0, 50.6, 52.0, 67.0):
        found = [said(stats(mean - sd, mean, mean + sd), place(50.0)) for sd in (0.0, 0.1, 0.3, 1.0, 3.0, 8.7)]
        assert found == sorted(found, key=order.index), (mean, found)
        assert found[-1] == UNSETTLED


def test_a_single_run_settles_nothing() -> None:
    assert said(stats(50.0), place(50.0)) == UNSETTLED
    assert said(stats(67.0), place(50.0)) == UNSETTLED


def test_a_figure_is_compared_under_its_own_selection_rule() -> None:
    runs = stats(50.0, 50.1, 50.2, best=(53.0, 53.1, 53.2))
    for selection, rule, name in (
        ("last", "last", REPRODUCED),
        ("best-on-val", "best", DIFFERS),
        ("unknown", "last", REPRODUCED),
        ("holdout", "last", REPRODUCED),  # these runs held nothing out
    ):
        found = verdict(runs, "last", place(50.1, selection=selection), 1.0)
        assert (found.rule, found.name) == (rule, name)
    assert verdict(runs, "best", place(50.1), 1.0).name == DIFFERS


def test_the_other_verdicts() -> None:
    assert said(stats(50.0), place(None)) == NOT_PUBLISHED
    assert said(stats(), place(None)) == NOT_PUBLISHED
    assert said(stats(), place(50.0)) == NOT_RUN
    assert said(stats(50.0, 50.0), place(50.0, ("stem 7x7, not deep",), ("crop 1x1, not 2x2",))) == OTHER_PROTOCOL
    assert said(stats(50.0, 50.0), place(50.0, (), ("crop 1x1, not 2x2",))) == OTHER_RECIPE
