"""What is published where a cell stands: the figure to compare it with, and what makes the two different experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.report import notes
from bench.report.model import TableCell
from bench.report.papers.families import OWN, Family, of_split
from bench.report.papers.published import PROVENANCE, Figure, Paper
from bench.spec.facts import IGNORED, said
from bench.spec.grid import Published
from bench.store.summary import CellSummary, Summary

# The rule of a run that a figure is compared under, by how the figure was selected; else the table's headline rule.
RULE_OF = {"last": "last", "best-on-val": "best", "holdout": "holdout"}
# Deviations that don't make a run another experiment than the paper's: arithmetic, other seeds, when it is evaluated,
# which checkpoint is the headline (figures are compared under their own rule).
_SAME_EXPERIMENT = ("numerics", "seed", "seeds", "evaluation.every", "evaluation.batch_size", "select")
# Facts of how a network is trained; all others, and the keys that begin with none of these, are the protocol's.
_RECIPE = ("crop", "iterations", "loss", "schedule", "optimizer", "augmentation", "method")
# Where a cell's key and the fact that it sets have different names.
_FACT_OF = {
    "augmentation.crop_size": "crop",
    "evaluation.mode": "evaluation",
    "evaluation.size": "evaluation",
    "dataset.size": "evaluation",
    "dataset.long_side": "evaluation",
    "dataset.split": "dataset_split",
    "dataset.eval_split": "eval_split",
    "schedule.iterations": "iterations",
    "schedule.batch.labelled": "schedule.batch",
    "schedule.batch.unlabelled": "schedule.batch",
}
# In a shared list's own numbers of images: protocols whose figures name budgets by fractions, or by a list.
_BY_LIST = ("ratio", "files")


@dataclass(frozen=True)
class Place:
    """What is published where a cell stands.

    Attributes:
        figure: the one compared with; None where nothing is published.
        others: what else is published there.
        protocol: what makes the cell's protocol another one than the figure's, in words.
        recipe: how its training differs from the figure's, in words.
        evaluations: how often one of the cell's runs is scored; None where unknown.
        family: whose list the cell's labelled images are; None where unknown.
    """

    figure: Figure | None
    others: tuple[Figure, ...] = ()
    protocol: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    evaluations: int | None = None
    family: str | None = None


def of_recipe(key: str) -> bool:
    """Tell whether a fact or a key is about how a network is trained, rather than about what is measured, and how."""
    return key.split(".")[0] in _RECIPE


def _fact(key: str) -> str:
    return _FACT_OF.get(key, key.removeprefix("network."))


def _claims(figure: Figure, match: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what a figure's source says, of all that a cell must share with it."""
    for name in match:
        if name == "recipe":
            yield from ((key, said(value)) for key, value in figure.recipe.items())
        elif (value := getattr(figure, name)) is not None:
            yield name, str(value)


def _mismatches(figure: Figure, facts: Mapping[str, str], match: Sequence[str]) -> dict[str, str]:
    """Return in which facts a cell is not what the figure says, as words by fact; what one doesn't say can't differ."""
    return {
        name: f"{name} {have}, not {wanted}"
        for name, wanted in _claims(figure, match)
        # An evaluation may be given without its size: `sliding`.
        if (have := facts.get(name)) is not None and have != wanted and not have.startswith(f"{wanted} ")
    } | ({IGNORED: f"mIoU without {facts[IGNORED]}, not over all classes"} if IGNORED in facts else {})


class Places:
    """What the papers that a grid names say of its cells."""

    def __init__(self, grid: Summary, asked: Published, papers: Sequence[Paper], store: Path, headline: str) -> None:
        self.methods, self.match, self.headline = asked.methods, asked.match, headline
        self.figures = [figure for paper in papers for figure in paper.figures]
        self.cells = {cell.id: cell for cell in grid.cells}
        self.deviations = {entry.key: notes.changed(entry) for entry in grid.deviations or []}
        self._family = cache(lambda sha256: of_split(store, sha256))

    def families(self, cell: TableCell) -> list[Family]:
        """Return whose lists the cell's runs have; empty where that isn't known of all of them."""
        found = [self._family(sha256) for sha256 in dict.fromkeys(run.split for run in cell.done)]
        return list(dict.fromkeys(family for family in found if family is not None)) if None not in found else []

    def _here(self, coords: Mapping[str, str], dataset: str, families: Sequence[Family]) -> Iterator[Figure]:
        """Yield the figures of a place: the same budget by name, or the same shared list by its number of images."""
        names = self.methods.get(coords["method"], ())
        images = {family.images for family in families if family is not OWN}
        for figure in self.figures:
            if figure.dataset == dataset and figure.method in names:
                named = (figure.protocol, figure.labels) == (coords["protocol"], coords["labels"])
                if named or (figure.protocol in _BY_LIST and figure.images in images and coords["protocol"] == "files"):
                    yield figure

    def _choose(self, here: Iterator[Figure], facts: Mapping[str, str]) -> list[tuple[Figure, dict[str, str]]]:
        """Return figures, the one to compare with first, each with its mismatches.

        One of the cell's protocol and recipe goes before one of another; then one of the same protocol; then the better
        rank of provenance; then the one whose number of runs is known, and larger; then one whose selection is known, the
        headline rule's first; then the paper that the grid names first.
        """

        def rank(found: tuple[Figure, dict[str, str]]) -> tuple[bool, bool, int, int, bool, bool]:
            figure, mismatches = found
            return (
                bool(mismatches),
                not all(map(of_recipe, mismatches)),
                PROVENANCE.index(figure.provenance),
                -(figure.n or 0),
                figure.selection == "unknown",
                RULE_OF.get(figure.selection) != self.headline,
            )

        return sorted(((figure, _mismatches(figure, facts, self.match)) for figure in here), key=rank)

    def _deviating(self, planned: CellSummary | None, mismatches: Mapping[str, str]) -> dict[str, str]:
        """Return what ``--set`` changed and no fact tells, as words by key."""
        return {
            key: self.deviations[key]
            for key in (planned.deviations if planned else None) or []
            if not key.startswith(_SAME_EXPERIMENT) and _fact(key) not in mismatches
        }

    def find(self, coords: Mapping[str, str], cell: TableCell) -> Place:
        """Return what is published for a cell."""
        planned = self.cells.get(next(run.id for run in (*cell.done, *cell.others)))
        families = self.families(cell)
        family = ", ".join(found.name for found in families) or None
        facts = {**((planned.facts if planned else None) or {}), **({"split_family": family} if family else {})}
        found = self._choose(self._here(coords, facts.get("dataset", coords["dataset"]), families), facts)
        evaluations = int(facts["evaluations"]) if "evaluations" in facts else None
        if not found:
            return Place(None, evaluations=evaluations, family=family)
        figure, mismatches = found[0]
        words = {**mismatches, **self._deviating(planned, mismatches)}
        return Place(
            figure,
            tuple(other for other, _ in found[1:]),
            tuple(text for key, text in words.items() if not of_recipe(key)),
            tuple(text for key, text in words.items() if of_recipe(key)),
            evaluations,
            family,
        )
