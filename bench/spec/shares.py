"""Whether several processes can share a cell's batches equally."""

from __future__ import annotations

from collections.abc import Iterable

from bench.errors import BenchError
from bench.spec.cell import Cell


def check_shares(cells: Iterable[Cell], processes: int, where: str) -> None:
    """Check that processes can divide the (micro-)batches of cells, and these what has batch-norm statistics of its own.

    Args:
        cells: to be trained.
        processes: of each.
        where: the key that asks for them, or the grid's path.

    Raises:
        BenchError: at the first cell where they can't.
    """
    for cell in cells:
        parts, own = cell.numerics.batch_norm_parts, f"{where}: {cell.method.name}"
        if parts > 1 and parts % processes:
            raise BenchError(
                f"{own}: {processes} processes can't share numerics.batch_norm_parts: {parts}; it must be a multiple of "
                "their number, or 1 for statistics over the whole batch"
            )
        for name, images in _micro_batches(cell).items():
            for count, of in ((processes, "processes"), (parts, "numerics.batch_norm_parts")):
                if images % count:
                    raise BenchError(
                        f"{own}: {count} {of} can't share its {images} {name} images of a (micro-)batch equally; change "
                        f"schedule.batch.{name}, schedule.accumulate, or the number"
                    )


def _micro_batches(cell: Cell) -> dict[str, int]:
    method, schedule = cell.method.cls, cell.schedule
    batch = schedule.with_labelled_factor(method.labelled_batch_factor(cell.method.config)).batch
    kinds = ["labelled", *(["unlabelled"] if method.uses_unlabelled else [])]
    return {name: getattr(batch, name) // schedule.accumulate for name in kinds}
