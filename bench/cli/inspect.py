"""``evaluate``, ``doctor`` and ``weights``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.evaluations import IGNORE, MODE, SIZE, SPLIT, STRIDE, asked_for
from bench.cli.formats import Select
from bench.cli.once import Verb
from bench.cli.options import DATA, JSON, STORE, make_request, store_path
from bench.cli.output import console, print_json

if TYPE_CHECKING:
    from bench.plan.request import Request
    from bench.store.run import Run
    from bench.train.metrics import ScoreRecord
    from bench.train.reevaluate import Evaluator

weights_app = typer.Typer(help="Put ImageNet weights in place; a job never downloads anything.", no_args_is_help=True)


_OF_A_RUN = ("cell.json", "result.json")  # where one of them is lost, the other one tells


def find_run(run: str, store: Path) -> Run:
    """Return a run given as a directory, as an id, or as the beginning of one id of the store.

    Raises:
        BenchError: if there is none, or more than one.
    """
    from bench.errors import BenchError
    from bench.store.run import Run

    if any((Path(run) / name).is_file() for name in _OF_A_RUN):
        return Run(Path(run))
    begin = sorted(path for path in store.glob("*") if path.name.startswith(run) and not path.name.startswith("."))
    found = [path for path in begin if any((path / name).is_file() for name in _OF_A_RUN)]
    exact = [p for p in found if p.name == run]
    if len(exact or found) != 1:
        names = ", ".join(p.name for p in found[:5])
        raise BenchError(
            f"run '{run}': " + (f"{len(found)} runs begin so: {names}" if found else f"no such run in {store}")
        )
    return Run((exact or found)[0])


def _runs(name: str, request: Request) -> list[Run]:
    """Return the run of a name, or the runs of a grid that are done.

    Raises:
        BenchError: if there is neither, or no run of the grid is done.
    """
    from bench.errors import BenchError
    from bench.plan.summary import find_summary
    from bench.spec.grid import grid_files
    from bench.store.run import Run

    if Path(name).suffix not in (".yaml", ".yml") and name not in [path.stem for path in grid_files()]:
        return [find_run(name, request.store)]
    runs = [Run(request.store / cell.id) for cell in find_summary(request).cells]
    done = [run for run in runs if run.is_done()]
    if not done:
        raise BenchError(
            f"grid '{name}': none of its {len(runs)} runs is done; only then there are weights to evaluate"
        )
    return done


@dataclass(frozen=True)
class _Outcome:
    """What ``evaluate`` found out of one run.

    Attributes:
        facts: for programs.
        lines: for people.
        differs: whether it contradicts what was recorded.
    """

    facts: dict[str, Any]
    lines: list[str]
    differs: bool
    score: ScoreRecord
    classes: tuple[str, ...]


def _named(evaluator: Evaluator) -> str:
    from bench.class_mean import without

    return " ".join(filter(None, ["mIoU", without(evaluator.evaluation.ignore_classes)]))


def _again(found: Run, which: str, evaluator: Evaluator) -> _Outcome:
    """Score a run as it was scored in training, beside what was recorded."""
    from bench.files import read_json
    from bench.store.evaluations import TOLERANCE

    score = evaluator.score()
    recorded_as = (read_json(found.result) or {}).get(which, {})
    recorded = recorded_as.get("miou")
    shown = "–" if recorded is None else f"{recorded:.2f}"
    line = f"{found.id}: {_named(evaluator)} {score.miou:.2f} (recorded: {shown}), pixel accuracy {score.pixel_accuracy:.2f}"
    facts = {"run": found.id, "recorded_miou": recorded, **score.as_dict()}
    lines, differs = [line], recorded is not None and abs(recorded - score.miou) > TOLERANCE
    if evaluator.data_changed:
        lines.append(f"the data changed since the run: {evaluator.data_changed}")
    elif recorded_as and not differs and (kept := evaluator.keep(found, which, score, recorded_as["step"])):
        lines.append(f"{kept}: what was missing of its confusion matrices is kept now")
    facts["data_changed"] = evaluator.data_changed
    return _Outcome(
        facts, lines, differs or bool(evaluator.data_changed), score.as_dict(), evaluator.reader.dataset.classes
    )


_WORDS = {
    "new": "kept in {path}",
    "same": "as in {path}",
    "differs": "but {before:.2f} in {path}, which stays",
    "replaced": "kept in {path} in place of that of other weights",
}


def _otherwise(found: Run, which: str, evaluator: Evaluator) -> _Outcome:
    """Score a run on another split or under another protocol, and keep that beside its result."""
    from bench.files import read_json
    from bench.run.rescore import score_and_keep, step_of
    from bench.store.evaluations import Kept

    done = score_and_keep(found, which, step_of(found, which, read_json(found.result) or {}), evaluator)
    entry, before = done.entry, done.before and done.before.miou
    what = f"{found.id}, {which}, {entry.evaluation}: {_named(evaluator)} {entry.miou:.2f}"
    became = _WORDS[done.kept.value].format(path=done.path, before=before)
    line = f"{what}, pixel accuracy {entry.pixel_accuracy:.2f}; {became}"
    facts = {"run": found.id, "file": str(done.path), "kept": done.kept.value, "recorded_miou": before}
    score: ScoreRecord = {"miou": entry.miou, "pixel_accuracy": entry.pixel_accuracy, "iou": entry.iou}
    facts |= entry.model_dump(mode="json", exclude={"environment"})
    return _Outcome(facts, [line], done.kept is Kept.DIFFERS, score, tuple(entry.classes))


def evaluate(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's directory or id; or a grid, for all of its runs that are done."),
    ],
    select: Annotated[Select, typer.Option("--select", help="Which weights.")] = Select.LAST,
    split: SPLIT = None,
    mode: MODE = None,
    size: SIZE = None,
    stride: STRIDE = None,
    ignore: IGNORE = None,
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Also count pixels near boundaries, for `table --metric boundary-iou`.")
    ] = False,
    draw: Annotated[
        int, typer.Option("--draw", min=0, metavar="N", help="Draw image, truth, prediction of N images.")
    ] = 0,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where drawings go.")] = Path("plots"),
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Evaluate a run again from its weights, beside what was recorded. Exit code 1 if the two differ.

    With --split, --mode, --size, --stride or --ignore-classes: on other images or under another protocol. Such a score is
    kept in the run's folder `evaluations`, beside its result and never instead of it; `table` takes the same options.
    """
    from bench.data.roots import DataRoots
    from bench.errors import BenchError
    from bench.store.evaluations import find
    from bench.train.reevaluate import OWN, Evaluator

    asked, roots = asked_for(split, mode, size, stride, ignore) or OWN, DataRoots.parse(data or [])
    if boundary and asked is not OWN:
        raise BenchError(
            "--boundary: pixels near boundaries are kept of a run's own evaluation only; leave the others out"
        )
    outcomes = []
    for found in _runs(run, make_request(run, None, data, store)):
        own = find(found, asked, select.value) is None
        evaluator = Evaluator.open(found, select.value, roots, asked=asked)
        if boundary:
            evaluator = replace(evaluator, evaluation=evaluator.evaluation.model_copy(update={"boundary": True}))
        outcome = (_again if own else _otherwise)(found, select.value, evaluator)
        files = _drawings(found, evaluator, draw, output) if draw else []
        outcome.facts["drawings"] = [str(file) for file in files]
        if files:
            outcome.lines.append(f"drawn: {files[0].parent} (a PNG for each image), {files[-2]}, {files[-1]}")
        outcomes.append(outcome)
        if not as_json:
            _print_outcome(outcome)
    if as_json:
        print_json([outcome.facts for outcome in outcomes] if len(outcomes) > 1 else outcomes[0].facts)
    raise SystemExit(1 if any(outcome.differs for outcome in outcomes) else 0)


def _drawings(run: Run, evaluator: Evaluator, count: int, output: Path) -> list[Path]:
    from bench.arrays import spread
    from bench.cli.pictures import drawings

    ids = [evaluator.ids[place] for place in spread(len(evaluator.ids), count)]
    return drawings(run.id, evaluator, ids, output)


def _print_outcome(outcome: _Outcome) -> None:
    from rich.table import Table

    out = console()
    first, *rest = outcome.lines
    out.print(first)
    table = Table("class", "IoU", box=None)
    for name, iou in zip(outcome.classes, outcome.score["iou"], strict=True):
        table.add_row(name, "absent" if iou is None else f"{iou:.1f}")
    out.print(table)
    for line in rest:
        out.print(line)


def doctor(
    data: DATA = None,
    store: STORE = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged files of the store's runs aside; `run` then goes on.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Check that this machine can run a grid: packages, device, data, store, plug-ins. Exit code 1 if it can't.

    With --store, also read every file of its runs and name what is damaged. Exit code 1 too if a finished run is.
    """
    from bench.run.doctor import examine, examine_runs

    place = store_path(store)
    report = examine(data or [], place)
    if store is not None or repair:
        report["checks"] += examine_runs(place, repair)
    if as_json:
        print_json(report)
    else:
        out = console()
        colours = {"ok": "green", "note": "yellow", "problem": "red"}
        for check in report["checks"]:
            out.print(check["verdict"].ljust(len("problem")), style=colours[check["verdict"]], end=" ")
            out.print(f"{check['name']}: {check['detail']}")
    raise SystemExit(1 if any(c["verdict"] == "problem" for c in report["checks"]) else 0)


@weights_app.command(cls=Verb)
def fetch(name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone, e.g. resnet101.")]) -> None:
    """Download a backbone's ImageNet weights from torchvision's server, and check their hash."""
    from methods.networks.weights import fetch as fetch_weights

    path = fetch_weights(name, progress=sys.stderr.isatty())
    console().print(f"{name}: {path}")
