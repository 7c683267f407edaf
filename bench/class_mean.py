"""The mean over classes, from which some may be left out: the one definition for training, evaluation and reports."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bench.errors import BenchError, unknown


def mean_over_classes(values: Sequence[float | None], ignored: Collection[int] = ()) -> float | None:
    """Return the mean over the classes that occur and aren't ignored; None where there is none.

    Args:
        values: per class, in index order; None for a class that occurs in neither ground truth nor prediction.
        ignored: indices of classes that are left out. Their pixels still count against the others: what is labelled as
            another class and predicted as an ignored one is a miss of the other.
    """
    known = [value for index, value in enumerate(values) if value is not None and index not in ignored]
    return sum(known) / len(known) if known else None


def indices(names: Collection[str], classes: Sequence[str], where: str = "evaluation.ignore_classes") -> frozenset[int]:
    """Return the indices of classes.

    Args:
        names: of the classes that are left out.
        classes: all of the dataset's, in index order.
        where: what an error begins with.

    Raises:
        BenchError: if there is no class of such a name, or none would be left.
    """
    for name in names:
        if name not in classes:
            raise BenchError(f"{where}: {unknown('class', name, classes)}")
    found = frozenset(index for index, name in enumerate(classes) if name in names)
    if len(found) == len(classes):
        raise BenchError(f"{where}: all {len(classes)} classes are ignored; at least one must be left for the mean")
    return found


def without(names: Collection[str]) -> str:
    """Return the words that name what a mean leaves out, ``without background, sky``; nothing where it leaves out none."""
    return f"without {', '.join(sorted(names))}" if names else ""
