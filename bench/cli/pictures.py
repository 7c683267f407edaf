"""``plot qualitative`` and ``evaluate --draw``: images beside their truth and what runs predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from bench.plan.request import Request
    from bench.report.figures.qualitative import Row
    from bench.report.pictures import Pick
    from bench.store.confusion import Confusion
    from bench.store.run import Run
    from bench.store.summary import CellSummary
    from bench.train.reevaluate import Evaluator


def plot_qualitative(
    request: Request, methods: str | None, only: str | None, pick: Pick, images: str, which: str, output: Path
) -> list[Path]:
    """Draw images × methods of runs of one split and seed, and return the files.

    Args:
        request: the grid, the data and the store.
        methods: labels between commas, in the order of the figure; None for all.
        only: as in ``--only``.
        pick: how images are chosen where `images` is a number.
        images: how many, or their ids between commas.
        which: weights, `last`, `best` or `selected`.
        output: the folder.

    Raises:
        BenchError: if no such runs are done, or there are no such images, or matrices or weights are missing.
    """
    from bench.data.roots import DataRoots
    from bench.plan.summary import find_summary
    from bench.report.pictures import beside
    from bench.store.run import Run
    from bench.train.reevaluate import Evaluator

    summary = find_summary(request)
    cells = _chosen(summary.cells, only)
    names = None if methods is None else [name.strip() for name in methods.split(",")]
    shown = beside(cells, names, {cell.id: Run(request.store / cell.id).is_done() for cell in cells})
    runs = {str(cell.coords["method"]): Run(request.store / cell.id) for cell in shown}
    ids = _ids(list(runs.values()), which, pick, images)
    roots = DataRoots.parse(request.data)
    of = shown[0].coords
    title = f"{summary.title or summary.name}: {', '.join(_where(of, cells))}"
    evaluators = {name: Evaluator.open(run, which, roots) for name, run in runs.items()}
    return _sheet(evaluators, ids, title, output, f"{summary.name}-qualitative")


def _where(of: Mapping[str, object], cells: Sequence[CellSummary]) -> Iterator[str]:
    """Yield the coordinates that runs of one figure share and that not all cells have."""
    yield str(of["labels"])
    for axis in of:
        if axis not in ("method", "labels", "seed") and len({str(cell.coords.get(axis)) for cell in cells}) > 1:
            yield f"{axis} {of[axis]}"
    yield f"seed {of['seed']}"


def _chosen(cells: Sequence[CellSummary], only: str | None) -> Sequence[CellSummary]:
    from bench.cli.only import asked_for, choose

    for wanted in asked_for(only or ""):
        chosen = choose(cells, lambda cell: cell.coords, wanted, None)
        cells = [cell for cell in cells if id(cell) in chosen]
    return cells


def _ids(runs: Sequence[Run], which: str, pick: Pick, images: str) -> list[str]:
    from bench.report.pictures import choose

    kept = [_matrices(run, which) for run in runs]
    ids = kept[0].ids
    if any(one.ids != ids for one in kept):
        raise BenchError("these runs were scored on different images; choose runs of one dataset with --only")
    if images.isdecimal():
        return [ids[place] for place in choose(kept, pick, max(1, int(images)))]
    names = [name.strip() for name in images.split(",")]
    for name in names:
        if name not in ids:
            raise unknown("image of --images", name, ids)
    return names


def _matrices(run: Run, which: str) -> Confusion:
    from bench.store.confusion import read_confusion

    kept = read_confusion(run, which)
    if kept is None:
        raise BenchError(f"{run.id}: keeps no matrices of its '{which}' evaluation; `evaluate {run.id}` makes them")
    return kept


def drawings(run: str, evaluator: Evaluator, ids: Sequence[str], output: Path) -> list[Path]:
    """Draw what one run predicts of images, and return the files.

    Each image is a PNG of its own, image, truth and prediction pixel by pixel beside each other; the figure of them all
    with its legend is written as SVG and PDF.

    Args:
        run: its id.
        evaluator: of its weights.
        ids: of the images.
        output: where to write: `RUN/IMAGE.png`, `RUN.svg` and `RUN.pdf`.
    """
    from PIL import Image

    from bench.files import short_name
    from bench.report.figures.qualitative import draw, strip

    dataset, folder, files = evaluator.reader.dataset, output / short_name(run), list[Path]()
    rows = [_row({"prediction": evaluator}, name) for name in ids]
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        files.append(folder / f"{short_name(row.name.replace('/', '_'))}.png")
        Image.fromarray(strip(row, dataset.palette)).save(files[-1])
    names = ["truth", "prediction"]
    return files + draw(rows, names, dataset.classes, dataset.palette, run, output, run, ("svg", "pdf"))


def _sheet(evaluators: Mapping[str, Evaluator], ids: Sequence[str], title: str, output: Path, stem: str) -> list[Path]:
    """Draw what runs, by their names, predict of images, and return the files."""
    from bench.report.figures.qualitative import draw

    dataset = next(iter(evaluators.values())).reader.dataset
    rows = [_row(evaluators, name) for name in ids]
    return draw(rows, ["truth", *evaluators], dataset.classes, dataset.palette, title, output, stem)


def _row(evaluators: Mapping[str, Evaluator], name: str) -> Row:
    from bench.report.figures.qualitative import Row
    from bench.report.pictures import image_score

    reader = next(iter(evaluators.values())).reader
    truth, predicted = reader.mask(name), [evaluator.predict(name) for evaluator in evaluators.values()]
    scores = [image_score(truth, mask, len(reader.dataset.classes)) for mask in predicted]
    captions = ["", *("no labelled pixel" if score is None else f"mIoU {score:.1f}" for score in scores)]
    return Row(name, reader.image(name), [truth, *predicted], captions)
