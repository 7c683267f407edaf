"""Lengths that a recipe gives in epochs of the unlabelled images, in optimizer steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import BenchError
from bench.yaml import Raw, RawView


def steps_per_epoch(images: int, batch: int) -> int:
    """Return the whole number of steps nearest to images / batch, a half being rounded down, at least 1.

    That is how many steps an epoch has in the released codes, which drop a last batch that isn't full: as many processes as
    there are GPUs share the images after rounding up. UniMatch's runs of 80 epochs on VOC, on four, have 104,880 steps at 92
    labels and 91,200 at 1464.
    """
    return max((2 * images + batch - 1) // (2 * batch), 1)


_IN_STEPS = {"schedule": ("epochs", "iterations"), "evaluation": ("every_epochs", "every")}


def in_steps(recipe: RawView, unlabelled: int, where: str) -> Raw:
    """Return those sections of a resolved recipe in which a length is given in epochs, with that length in steps.

    The epochs are kept beside them, so that a cell says what was asked for.

    Args:
        recipe: has `schedule` and `evaluation`.
        unlabelled: number of unlabelled images.
        where: for the message.

    Raises:
        BenchError: if a length is given both ways, or there are no unlabelled images.
    """
    epoch, found = steps_per_epoch(unlabelled, recipe["schedule"].batch.unlabelled), dict[str, Any]()
    for name, (epochs, steps) in _IN_STEPS.items():
        section = recipe[name]
        if (asked := getattr(section, epochs)) is None:
            continue
        if steps in section.model_fields_set:
            why = f"both {epochs} and {steps} are given; leave one out, or set {name}.{epochs} to null"
            raise BenchError(f"{where}: {name}: {why}")
        if not unlabelled:
            raise BenchError(f"{where}: {name}.{epochs} are of the unlabelled images, and this split has none")
        found[name] = section.model_copy(update={steps: max(round(asked * epoch), 1)})
    return found


def as_in(recipe: RawView, spec: RawView) -> Raw:
    """Return those sections of a recipe that are given in epochs, with the steps of a stored cell of the same epochs."""
    found = dict[str, Any]()
    for name, (epochs, steps) in _IN_STEPS.items():
        stored, asked = spec.get(name), getattr(recipe[name], epochs)
        if asked is not None and isinstance(stored, Mapping) and stored.get(epochs) == asked and steps in stored:
            found[name] = recipe[name].model_copy(update={steps: stored[steps]})
    return found
