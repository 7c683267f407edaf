"""Scores a run's weights on another split or under another protocol, and keeps that beside its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.run import provenance
from bench.store.evaluations import Kept, StoredEvaluation, file_of, find, keep, known_evaluation
from bench.store.failures import Fault, classify
from bench.store.run import Run, State

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.roots import DataRoots
    from bench.spec.resources import Device
    from bench.spec.sections import OtherEvaluation
    from bench.train.evaluate import Sample
    from bench.train.metrics import EvaluationRecord
    from bench.train.reevaluate import Evaluator

    Watch = Callable[[Iterator[Sample]], Iterator[Sample]]


@dataclass(frozen=True)
class Rescored:
    """An evaluation, its file, what became of it, and the one that was there before (None where there was none)."""

    entry: StoredEvaluation
    path: Path
    kept: Kept
    before: StoredEvaluation | None


def file_for(run: Run, evaluator: Evaluator, which: str) -> Path:
    """Return the file of what an evaluator scores."""
    return file_of(run, evaluator.split, evaluator.evaluation, evaluator.cell.evaluation, which)


def score_and_keep(run: Run, which: str, step: int | None, evaluator: Evaluator, watch: Watch = iter) -> Rescored:
    """Score, and keep the score unless there is one of the same weights, which stays and is compared.

    Args:
        run: the run.
        which: its weights, with which the evaluator was opened.
        step: after which they were kept.
        evaluator: says what is scored.
        watch: see ``Evaluator.score``.

    Raises:
        BenchError: if an image doesn't fit the protocol.
    """
    path = file_for(run, evaluator, which)
    before = known_evaluation(path)
    begin = time.monotonic()
    score = evaluator.score(watch)
    entry = evaluator.entry(run, which, step, score, time.monotonic() - begin)
    entry = entry.model_copy(update={"environment": {**provenance.describe(), **entry.environment}})
    return Rescored(entry, path, keep(path, entry), before)


def evaluate_also(
    run: Run,
    others: tuple[OtherEvaluation, ...],
    kept: dict[str, EvaluationRecord],
    roots: DataRoots,
    device: Device,
    watch: Watch = iter,
) -> None:
    """Make the evaluations that a grid asks for beside the run's own (``evaluation.also``), of all weights that it keeps.

    Those that are kept already aren't made again, and weights of one step are scored once. One that can't be made (the
    dataset has no such split, memory runs out) is printed, and costs nothing else: the run is trained.

    Args:
        run: a run whose training has ended and whose weights are on the disk.
        others: what to evaluate.
        kept: the run's evaluations, by name of the weights.
        roots: where the datasets lie.
        device: as in ``resources.device``.
        watch: see ``Evaluator.score``; what it raises is passed on.
    """
    for other in others:
        try:
            _evaluate_other(run, other, kept, roots, device, watch)
        except Exception as error:
            failure = classify(error)
            if failure.fault is not Fault.INPUT and failure.state is not State.OUT_OF_MEMORY:
                raise
            print(f"evaluation.also {other.model_dump(exclude_none=True)}: not made: {failure.reason}")


def _evaluate_other(
    run: Run,
    other: OtherEvaluation,
    kept: dict[str, EvaluationRecord],
    roots: DataRoots,
    device: Device,
    watch: Watch,
) -> None:
    from bench.train.reevaluate import Evaluator

    made: dict[int, StoredEvaluation] = {}
    if find(run, other, "last") is None:
        return  # the run's own evaluation
    for which, record in kept.items():
        step = record["step"]
        evaluator = Evaluator.open(run, which, roots, device, other)
        path = file_for(run, evaluator, which)
        known = known_evaluation(path)
        if known is not None and known.weights_sha256 == evaluator.weights_sha256:
            continue
        if step in made:
            keep(path, made[step].model_copy(update={"weights": which}))
        else:
            made[step] = score_and_keep(run, which, step, evaluator, watch).entry


def step_of(run: Run, which: str, result: dict[str, EvaluationRecord]) -> int:
    """Return the step at which a run's weights were kept, by its result.

    Raises:
        BenchError: if the run isn't done, or keeps no such weights.
    """
    if which not in result:
        raise BenchError(
            f"{run.id}: it is not done, or keeps no weights '{which}'; its evaluations are made when it is"
        )
    return result[which]["step"]
