"""``evaluate``, ``doctor`` and ``weights``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DATA, JSON, STORE, store_path
from bench.cli.output import console, print_json
from bench.cli.reports import Select

if TYPE_CHECKING:
    from bench.store.run import Run
    from bench.train.metrics import Score

weights_app = typer.Typer(help="Put ImageNet weights in place; a job never downloads anything.", no_args_is_help=True)


def find_run(run: str, store: Path) -> Run:
    """Return a run given as a directory, as an id, or as the beginning of one id of the store.

    Raises:
        BenchError: if there is none, or more than one.
    """
    from bench.errors import BenchError
    from bench.store.run import Run

    if (Path(run) / "cell.json").is_file():
        return Run(Path(run))
    found = sorted(p.parent for p in store.glob("*/cell.json") if p.parent.name.startswith(run))
    exact = [p for p in found if p.name == run]
    if len(exact or found) != 1:
        names = ", ".join(p.name for p in found[:5])
        raise BenchError(
            f"run '{run}': " + (f"{len(found)} runs begin so: {names}" if found else f"no such run in {store}")
        )
    return Run((exact or found)[0])


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's directory, or its id in the store.")],
    select: Annotated[Select, typer.Option("--select", help="Which weights.")] = Select.LAST,
    draw: Annotated[
        int, typer.Option("--draw", min=0, metavar="N", help="Draw image, truth, prediction of N images.")
    ] = 0,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where drawings go.")] = Path("plots"),
    data: DATA = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Evaluate a run again from its weights, beside what was recorded. Exit code 1 if the two differ."""
    from bench.data.roots import DataRoots
    from bench.files import read_json
    from bench.train.reevaluate import Evaluator

    found = find_run(run, store_path(store))
    evaluator = Evaluator.open(found, select.value, DataRoots.parse(data or []))
    score = evaluator.score()
    files = evaluator.draw(output / found.id, draw) if draw else []
    recorded_as = (read_json(found.result) or {}).get(select.value, {})
    recorded = recorded_as.get("miou")
    differs = recorded is not None and abs(recorded - score.miou) > 0.05
    kept = evaluator.keep(found, select.value, score, recorded_as["step"]) if recorded_as and not differs else None
    if kept is not None:
        print(f"{kept}: these confusion matrices were missing; they are kept now", file=sys.stderr)
    classes = evaluator.reader.dataset.classes
    if as_json:
        print_json({"run": found.id, "recorded_miou": recorded, **score.as_dict(), "drawings": [str(f) for f in files]})
    else:
        _print_score(found.id, score, recorded, classes, files)
    raise SystemExit(1 if differs else 0)


def _print_score(
    run_id: str, score: Score, recorded: float | None, classes: tuple[str, ...], files: list[Path]
) -> None:
    from rich.table import Table

    out = console()
    out.print(f"{run_id}: mIoU {score.miou:.2f} (recorded: {'–' if recorded is None else f'{recorded:.2f}'}), ", end="")
    out.print(f"pixel accuracy {score.pixel_accuracy:.2f}")
    table = Table("class", "IoU", box=None)
    for name, iou in zip(classes, score.iou, strict=True):
        table.add_row(name, "absent" if iou is None else f"{iou:.1f}")
    out.print(table)
    if files:
        out.print(f"drawings (image, truth, prediction) are in {files[0].parent}")


def doctor(data: DATA = None, store: STORE = None, as_json: JSON = False) -> None:
    """Check that this machine can run a grid: packages, device, data, store, plug-ins. Exit code 1 if it can't."""
    from bench.run.doctor import examine

    report = examine(data or [], store_path(store))
    if as_json:
        print_json(report)
    else:
        out = console()
        colours = {"ok": "green", "note": "yellow", "problem": "red"}
        for check in report["checks"]:
            out.print(check["verdict"].ljust(len("problem")), style=colours[check["verdict"]], end=" ")
            out.print(f"{check['name']}: {check['detail']}")
    raise SystemExit(1 if any(c["verdict"] == "problem" for c in report["checks"]) else 0)


@weights_app.command()
def fetch(name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone, e.g. resnet101.")]) -> None:
    """Download a backbone's ImageNet weights from torchvision's server, and check their hash."""
    from methods.networks.weights import fetch as fetch_weights

    path = fetch_weights(name, progress=sys.stderr.isatty())
    console().print(f"{name}: {path}")
