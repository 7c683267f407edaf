"""From planned cells to the jobs that run them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.roots import DataRoots, as_mapping, name_of
from bench.errors import Damaged
from bench.files import concurrently, read_json
from bench.plan.cells import Plan, PlannedCell
from bench.plan.preflight import modules_of
from bench.plan.request import Request
from bench.store.cells import write_cell
from bench.store.healing import mend_done
from bench.store.job import Job
from bench.store.results import Checked
from bench.store.run import Run


def make_jobs(plan: Plan, cells: Sequence[PlannedCell], request: Request, retry: bool) -> tuple[list[Job], int]:
    """Write cell.json for each cell that is to run; return the jobs, and how many of `cells` are done.

    A cell that is damaged gets a job, too, which finds that out and says so.

    Args:
        plan: the whole grid.
        cells: those to run.
        request: for the store and the data folders.
        retry: also run cells that diverged.
    """
    roots = as_mapping(DataRoots.parse(request.data), sorted({name_of(c.cell.dataset.spec()) for c in cells}))
    resources = plan.grid.resources.model_dump(mode="json")
    store = str(request.store.resolve())

    checked = Checked(request.store)

    def written(planned: PlannedCell) -> Job | None:
        run = Run(request.store / planned.cell.id)
        if run.is_done() and _is_sound(run, checked):
            if not _has_cell(run):
                write_cell(run, plan.name, planned.cell, planned.coords, planned.data_sha256)
            return None
        write_cell(run, plan.name, planned.cell, planned.coords, planned.data_sha256)
        modules = modules_of(planned.cell)
        return Job(store, planned.cell.id, roots, resources, retry, until=planned.until, modules=modules)

    jobs = [job for job in concurrently(written, cells) if job is not None]
    checked.keep()
    return jobs, len(cells) - len(jobs)


def _has_cell(run: Run) -> bool:
    try:
        return read_json(run.cell, dict) is not None
    except Damaged:
        return False


def _is_sound(run: Run, checked: Checked) -> bool:
    """Tell whether a finished run's result is sound; then what else it has is mended, and its checkpoint goes."""
    try:
        checked.check(run)
    except Damaged:
        return False
    try:
        run.read_state()
    except Damaged:
        mend_done(run)
    run.discard_checkpoint()
    return True
