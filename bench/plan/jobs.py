"""From planned cells to the jobs that run them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.roots import DataRoots, as_mapping, name_of
from bench.files import concurrently
from bench.plan.cells import Plan, PlannedCell
from bench.plan.request import Request
from bench.store.cells import write_cell
from bench.store.job import Job
from bench.store.run import Run


def make_jobs(plan: Plan, cells: Sequence[PlannedCell], request: Request, retry: bool) -> tuple[list[Job], int]:
    """Write cell.json for each cell that is to run; return the jobs, and how many of `cells` are done.

    Args:
        plan: the whole grid.
        cells: those to run.
        request: for the store and the data folders.
        retry: also run cells that diverged.
    """
    roots = as_mapping(DataRoots.parse(request.data), sorted({name_of(c.cell.dataset.spec()) for c in cells}))
    resources = plan.grid.resources.model_dump(mode="json")
    store = str(request.store.resolve())

    def written(planned: PlannedCell) -> Job | None:
        run = Run(request.store / planned.cell.id)
        if run.is_done():
            run.discard_checkpoint()
            return None
        write_cell(run, plan.name, planned.cell, planned.coords, planned.data_sha256)
        return Job(store, planned.cell.id, roots, resources, retry, until=planned.until)

    jobs = [job for job in concurrently(written, cells) if job is not None]
    return jobs, len(cells) - len(jobs)
