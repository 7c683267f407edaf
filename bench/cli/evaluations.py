"""The options that name an evaluation other than a run's own: split and protocol."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.spec.sections import OtherEvaluation


class ScoredSplit(str, Enum):
    """The images of an evaluation."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    HOLDOUT = "holdout"


class Mode(str, Enum):
    """The modes of an evaluation."""

    WHOLE = "whole"
    PADDED = "padded"
    SLIDING = "sliding"


_PAIR = "HEIGHT WIDTH"
SPLIT = Annotated[ScoredSplit | None, typer.Option("--split", help="Images, where not the run's own split.")]
MODE = Annotated[Mode | None, typer.Option("--mode", help="As evaluation.mode, where not the run's own.")]
SIZE = Annotated[tuple[int, int] | None, typer.Option("--size", metavar=_PAIR, help="As evaluation.size.")]
STRIDE = Annotated[tuple[int, int] | None, typer.Option("--stride", metavar=_PAIR, help="As evaluation.stride.")]

IGNORE = Annotated[
    str | None,
    typer.Option("--ignore-classes", metavar="NAMES", help="As evaluation.ignore_classes: a,b; '' ignores none."),
]


def asked_for(
    split: ScoredSplit | None,
    mode: Mode | None,
    size: tuple[int, int] | None,
    stride: tuple[int, int] | None,
    ignore: str | None = None,
) -> OtherEvaluation | None:
    """Return the evaluation that the options name; None without any.

    Raises:
        BenchError: for sizes that can't be.
    """
    from bench.spec.messages import validate
    from bench.spec.sections import OtherEvaluation

    ignored = None if ignore is None else tuple(filter(None, (name.strip() for name in ignore.split(","))))
    words = {"split": split and split.value, "mode": mode and mode.value}
    values = {**words, "size": size, "stride": stride, "ignore_classes": ignored}
    given = {key: value for key, value in values.items() if value is not None}
    return validate(OtherEvaluation, given, "evaluate") if given else None


def as_options(asked: OtherEvaluation) -> str:
    """Return the options that name an evaluation, as they are typed."""
    words = []
    for key, value in asked.model_dump(exclude_none=True).items():
        if key == "ignore_classes":
            words += ["--ignore-classes", shlex.quote(",".join(value))]
        else:
            words += [f"--{key}", *(map(str, value) if isinstance(value, tuple) else [value])]
    return " ".join(words)
