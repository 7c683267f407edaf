"""The sample predictions of a grid's page: the same images, predicted by a run of every method and label budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.arrays import UInt8, spread
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.page.pictures import Mask, Predicted, Shown
    from bench.plan.request import Request
    from bench.store.run import Run
    from bench.store.summary import CellSummary
    from bench.train.reevaluate import Evaluator

WHICH = "last"


@dataclass
class _Samples:
    """What is predicted of one dataset's images: `masks` by image and run, with scores in words."""

    ids: list[str]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    images: dict[str, tuple[UInt8, UInt8]] = field(default_factory=dict)
    masks: dict[str, list[Mask]] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluator: Evaluator, count: int) -> _Samples:
        """Choose images evenly over the split that a run is scored on."""
        dataset, ids = evaluator.reader.dataset, evaluator.ids
        made = cls([ids[place] for place in spread(len(ids), count)], dataset.classes, tuple(dataset.palette))
        for name in made.ids:
            made.images[name] = evaluator.reader.image(name), evaluator.reader.mask(name)
        return made

    def add(self, run: str, name: str, evaluator: Evaluator) -> None:
        """Predict the images with a run of this id and name.

        Raises:
            BenchError: if the run is scored on other images.
        """
        from bench.page.pictures import Mask
        from bench.report.pictures import image_score

        if not set(self.ids) <= set(evaluator.ids):
            raise BenchError("scored on other images than the first run of the dataset")
        for image in self.ids:
            mask = evaluator.predict(image)
            score = image_score(self.images[image][1], mask, len(self.classes))
            said = "no labelled pixel" if score is None else f"mIoU {score:.1f}"
            self.masks.setdefault(image, []).append(Mask(run, name, mask, said))

    def predicted(self) -> list[Predicted]:
        """Return the images with all predictions."""
        from bench.page.pictures import Predicted

        return [Predicted(name, *self.images[name], self.masks[name]) for name in self.ids]


def sample_predictions(request: Request, count: int, quiet: bool) -> tuple[list[Shown], list[str]]:
    """Predict images with the last weights of the grid's runs, one run at a time.

    Args:
        request: the grid, the data and the store.
        count: images of each dataset.
        quiet: show no progress.

    Returns:
        What there is to show, by dataset; and why runs are left out, a line per reason.
    """
    from bench.cli.progress import progress_bar
    from bench.page.pictures import Shown
    from bench.plan.summary import find_summary
    from bench.report.pictures import of_each_budget
    from bench.report.rows import one_line
    from bench.store.names import Names
    from bench.store.run import Run

    cells = find_summary(request).cells
    runs = {cell.id: Run(request.store / cell.id) for cell in cells}
    chosen = of_each_budget(cells, {name: _drawable(run) for name, run in runs.items()})
    names = Names([cell.coords for cell in cells])
    found, left_out = dict[str, _Samples](), dict[str, int]()
    with progress_bar("sample predictions", quiet) as step:
        for done, cell in enumerate(chosen, 1):
            try:
                _predict(request, runs[cell.id], cell, one_line(names.name(cell.coords)), count, found)
            except BenchError as error:
                left_out[str(error)] = left_out.get(str(error), 0) + 1
            step(done, len(chosen))
    about = f"Predicted by the {WHICH} weights of the first seed at which most methods are done, for each label budget."
    shown = [Shown(f"{dataset}. {about}", of.classes, of.palette, of.predicted()) for dataset, of in found.items()]
    return shown, _reasons(left_out, len(cells), len(chosen))


def _drawable(run: Run) -> bool:
    from bench.patience import exists

    return run.is_done() and exists(run.weights(WHICH))


def _predict(request: Request, run: Run, cell: CellSummary, name: str, count: int, found: dict[str, _Samples]) -> None:
    from bench.data.roots import DataRoots
    from bench.train.reevaluate import Evaluator

    evaluator = Evaluator.open(run, WHICH, DataRoots.parse(request.data))
    dataset = str(cell.coords["dataset"])
    samples = found.get(dataset) or _Samples.of(evaluator, count)
    samples.add(run.id, name, evaluator)
    found[dataset] = samples


def _reasons(left_out: dict[str, int], cells: int, chosen: int) -> list[str]:
    if not chosen:
        return [f"none of {cells} cells is done and has kept its weights here"]
    return [f"{why} ({runs} run{'s' if runs > 1 else ''})" for why, runs in left_out.items()]
