"""Runs one cell in this process: claims its directory, trains, evaluates, writes the result last.

The same function serves the local runner and a Slurm job. Whatever goes wrong becomes a typed state with its reason; one
failing cell never stops another.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import streams
from bench.arrays import IGNORE_INDEX
from bench.data.content import check_unchanged
from bench.data.roots import open_dataset, roots_of
from bench.data.splits import load_split
from bench.errors import BenchError, Damaged
from bench.files import release_reserve, remove_leftovers, reserve, write_json
from bench.patience import exists, is_away
from bench.run import provenance
from bench.run.costs import write_cost
from bench.run.hooks import Hooks, Lost
from bench.run.patience import outlast
from bench.run.signals import Signals
from bench.run.team import PeerFailed, Team
from bench.spec.cell import Cell
from bench.spec.resources import Resources
from bench.store.cells import data_of, read_cell
from bench.store.confusion import Confusion, digests
from bench.store.failures import Fault, classify
from bench.store.healing import heal
from bench.store.hours import before
from bench.store.job import Job
from bench.store.kept import record_done, unwanted
from bench.store.results import check
from bench.store.rounding import as_it_began, began_anew, facts, go_on
from bench.store.run import Run, State, StateRecord
from bench.store.schema import check_schema
from bench.store.ticket import sound_ticket

if TYPE_CHECKING:
    from bench.run.recorder import Recorder
    from bench.train.loop import Trainer
    from bench.train.metrics import EvaluationRecord
    from bench.train.reader import Images, Reader
    from datasets.base import SegmentationDataset
    from datasets.split import Split


def run_cell(job: Job, signals: Signals | None = None) -> State | None:
    """Bring a cell to its end, or to a checkpoint if a signal asks; return its state.

    Where its store is away, it waits (:mod:`bench.run.patience`). A cell that is done is not touched; one that another
    process works on is left to it (`running` is returned), or has taken over in the meantime (None is returned).

    Args:
        job: which cell, and how.
        signals: of a caller that listens already; None listens while the cell runs.

    Raises:
        BenchError: if the cell's directory holds no cell of this version. Everything later becomes a state.
        OSError: if the store can't even take the state.
    """
    streams.make_usable()
    if signals is None:
        with Signals().listening() as signals:  # while it waits for its store too
            return _run(job, signals)
    return _run(job, signals)


def _run(job: Job, signals: Signals) -> State | None:
    run = Run(Path(job.store) / job.cell_id)
    away = partial(is_away, place=run.cell)
    try:
        return outlast(run, lambda: _attempt(run, job, signals), away, signals)
    except Exception as error:
        if not away(error):
            raise
        return _given_up(run, error)


def _given_up(run: Run, error: Exception) -> State:
    """Note that a run stopped because a file system is away; raises OSError where the store takes not even that."""
    with run.claim() as mine:
        if mine:
            run.write_state(State.PREEMPTED, reason=classify(error, run.cell).reason)
    return State.PREEMPTED if mine else State.RUNNING


def _attempt(run: Run, job: Job, signals: Signals) -> State | None:
    check_schema(Path(job.store))
    with run.claim() as mine:
        if not mine:
            return State.RUNNING
        if run.is_done():
            try:
                check(run)
            except Damaged as error:
                streams.say(str(error))
                return State.DAMAGED
        aside = heal(run, ticket=not job.submission)
        known, ticket = run.last_state(), sound_ticket(run)
        state = State(known["state"])
        if run.is_done():
            if state is not State.DONE:  # killed between the result and the record of it
                run.write_state(State.DONE)
            run.checkpoint.unlink(missing_ok=True)
            return State.DONE
        if state is State.DIVERGED and not job.retry:
            return state
        if state is State.STOPPED and job.until is not None and known.get("step", 0) >= job.until:
            return state  # a job that a cluster started again, after the trial had come to its rung
        remove_leftovers(run.path)
        with reserve(run.path):
            where = {"host": socket.gethostname(), "node": os.environ.get("SLURMD_NODENAME"), "pid": os.getpid()}
            submission = None if ticket is None else ticket.submission  # what is written from now on is newer than it
            run.write_state(State.RUNNING, **where, submission=submission, it_per_s=None, **_noted(run, aside))
            return _guarded(run, job, signals, known)


def _guarded(run: Run, job: Job, signals: Signals, known: StateRecord) -> State | None:
    """Train, and turn whatever happens into a state; `known` is the state that the run was left in."""
    from bench.train.loop import Stopped
    from bench.train.step import Diverged

    hooks = Hooks(run, job, signals)
    try:
        _train(run, job, hooks, known)
    except Lost:
        return None
    except Diverged as error:
        run.write_state(State.DIVERGED, step=error.step, reason=str(error))
        return State.DIVERGED
    except Stopped as error:
        if hooks.at_rung and signals.received is None:
            run.write_state(State.STOPPED, step=error.step, reason=f"at a rung, {error}")
            return State.STOPPED
        run.write_state(State.PREEMPTED, step=error.step, reason=str(error))
        return State.PREEMPTED
    except Exception as error:
        if is_away(error, run.cell):
            streams.say(traceback.format_exc())
            raise
        failure = error.failure if isinstance(error, PeerFailed) else classify(error)
        if run.lost():
            return None
        release_reserve(run.path)  # a full disk still has space for the reason
        streams.say(traceback.format_exc())
        at_once = hooks.first is None and failure.fault is not Fault.INPUT
        said = {"at_once": at_once, "fault": failure.fault.value, "device_lost": failure.device_lost}
        run.write_state(failure.state, reason=failure.reason, **said)
        return failure.state
    return State.DONE


def _train(run: Run, job: Job, hooks: Hooks, known: StateRecord) -> None:
    resources = as_it_began(run, Resources(**job.resources))
    from bench.train.setup import model, set_up_torch, torch_environment

    cell = read_cell(run)
    if cell.id != run.id:
        raise BenchError(
            f"the code or a file of weights changed since the run was planned (now {cell.id}); run the grid again"
        )
    device, processes = set_up_torch(resources.of_process(), cell.numerics), resources.processes
    together = {"threads": resources.threads, "processes": processes, "nodes": 1, "compile": resources.compile}
    numerics = {**torch_environment(device), **together}
    described = provenance.describe()
    here = (run, resources, device.type, model(device, processes), str(described["code_sha256"]))
    noted = go_on(*here)
    goes_on = exists(run.checkpoint)  # else what earlier attempts were computed with is not in the result
    attempt = run.record_attempt({**described, **numerics, "goes_on": goes_on, "before": before(known)})
    anew = {"at_once": None, "fault": None, "device_lost": None, "from_step": None}
    run.write_state(State.RUNNING, attempt=attempt, **anew, **facts(noted))
    from bench.run.recorder import Recorder
    from bench.train.build import build_reader

    roots, store = roots_of(job.data), run.path.parent
    dataset, data = open_dataset(cell.dataset, roots), check_unchanged(store, data_of(run), cell.dataset, roots)
    split = load_split(store, cell.split_sha256)
    team = Team(run, job, resources, device)
    reader = build_reader(cell, dataset, split, team.each, device)
    hooks.open(cell, reader, split, device)
    recorder = Recorder(run, hooks.still_ours)
    try:
        trainer = recorder.restore(lambda: _make_trainer(cell, reader, split, team, hooks, recorder))
        first = trainer.stepper.done
        if first == 0 and max(len(noted["models"]), len(noted["codes"])) > 1:
            noted = began_anew(*here)
        aside = _noted(run, recorder.set_aside)
        run.write_state(State.RUNNING, step=first, from_step=first, **facts(noted), **aside)
        with team.at_work(first):
            trainer.train()
    finally:
        recorder.close()
    hooks.still_ours()
    _evaluate_last(run, job, hooks, trainer)
    check_unchanged(store, data.sha256, cell.dataset, roots)
    _finish(run, dataset, split, trainer, data.sha256)


def _noted(run: Run, aside: list[str]) -> dict[str, list[str]]:
    """Return the fact of a state that says what was set aside, beside what was before."""
    return {"set_aside": [*run.last_state().get("set_aside", []), *aside]} if aside else {}


def _make_trainer(cell: Cell, reader: Reader, split: Split, team: Team, hooks: Hooks, recorder: Recorder) -> Trainer:
    """Return a trainer at its start, whose surroundings are the hooks and the recorder."""
    from bench.train.build import build_loader, build_stepper
    from bench.train.loop import Calls, Trainer

    stepper = build_stepper(cell, len(reader.dataset.classes), hooks.device, team.each.compile, team.group)
    calls = Calls(
        evaluate=lambda: hooks.evaluate(stepper.method),
        evaluate_holdout=(lambda: hooks.evaluate_holdout(stepper.method)) if split.holdout else None,
        evaluate_others=(lambda: hooks.evaluate_others(stepper.method))
        if cell.evaluation.predictors == "all"
        else None,
        diagnose=(lambda: hooks.diagnose(stepper.method)) if hooks.diagnoses else None,
        log=recorder.log,
        log_timing=recorder.log_timing,
        log_memory=recorder.log_memory,
        checkpoint=recorder.checkpoint,
        keep_weights=recorder.keep_weights,
        keep_images=lambda which, step, images: (
            None if images is None else recorder.keep_confusion(which, Confusion(hooks.images_of(which), step, images))
        ),
        finish=recorder.finish,
        progress=hooks.progress,
        should_stop=hooks.should_stop,
    )
    return Trainer(stepper, build_loader(stepper, reader, split, team.each), team.each, calls)


def labelled_pixels(reader: Images, split: Split) -> int:
    """Return the number of pixels whose label is given, over all images of the label budget."""
    return sum(int((mask != IGNORE_INDEX).sum()) for mask in map(reader.mask, split.budget))


def _evaluate_last(run: Run, job: Job, hooks: Hooks, trainer: Trainer) -> None:
    """Write the last weights, and make the further evaluations that the grid asks for."""
    from bench.run.rescore import evaluate_also
    from bench.train import checkpoint
    from bench.train.loop import EvaluationStopped, Stopped

    checkpoint.save(run.weights("last"), trainer.stepper.method.predictor.state_dict())
    others, kept = trainer.cell.evaluation.also, trainer.progress.evaluations
    try:
        evaluate_also(run, others, kept, roots_of(job.data), trainer.resources.device, hooks.until_stopped)
    except EvaluationStopped:  # there is a checkpoint after the last step
        raise Stopped(trainer.stepper.done) from None


def _finish(run: Run, dataset: SegmentationDataset, split: Split, trainer: Trainer, data_sha256: str) -> None:
    """Write the cost, and last of all the result."""
    from bench.train import checkpoint
    from bench.train.evaluate import describe

    cell, progress, loader = trainer.cell, trainer.progress, trainer.loader
    weights = trainer.stepper.method.predictor.state_dict()
    write_cost(run, trainer)
    result = {
        "cell_id": run.id,
        "iterations": trainer.stepper.done,
        "evaluation": describe(cell.evaluation, dataset),
        "classes": list(dataset.classes),
        **({"ignore_classes": list(cell.evaluation.ignore_classes)} if cell.evaluation.ignore_classes else {}),
        "labelled_images": len(split.budget),
        **({"holdout_images": len(split.holdout)} if split.holdout else {}),
        "unlabelled_images": len(loader.unlabelled),
        "split_sha256": cell.split_sha256,
        "data_sha256": data_sha256,
        **({"labelled_pixels": labelled_pixels(loader.reader, split)} if loader.partial else {}),
        **progress.evaluations,
        "weights_sha256": checkpoint.digest(weights),
        "confusion_sha256": digests(run, _matrices(progress.evaluations, bool(split.holdout))),
    }
    write_json(run.result, result)
    record_done(
        run, unwanted(trainer.resources.weights), step=trainer.stepper.done, miou=progress.evaluations["last"]["miou"]
    )
    run.checkpoint.unlink(missing_ok=True)


def _matrices(evaluations: Mapping[str, EvaluationRecord], held_out: bool) -> dict[str, int]:
    """Return which matrices per image a run keeps, with the step of each."""
    from bench.train.loop import HOLDOUT

    steps = {which: found["step"] for which, found in evaluations.items()}
    return {**steps, **({f"{HOLDOUT}{which}": steps[which] for which in ("last", "selected")} if held_out else {})}
