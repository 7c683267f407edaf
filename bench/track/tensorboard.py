"""TensorBoard: event files, one folder per run; ``tensorboard --logdir STORE/.track/tensorboard`` shows them."""

from __future__ import annotations

from collections.abc import Mapping

from bench.track.tracker import Record


class TensorBoard:
    """Writes event files; those of a record that begins anew are removed, later steps of one that goes on are void."""

    def __init__(self, record: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if record.step == 0:
            for path in record.folder.glob("events.out.tfevents.*"):
                path.unlink()
        purge = record.step + 1 if record.step else None
        self._writer = SummaryWriter(str(record.folder), purge_step=purge)
        lines = [f"| {key} | {value} |" for key, value in record.config.items()]
        text = "\n".join([f"**{record.name}**", "", "| key | value |", "|---|---|", *lines])
        self._writer.add_text("config", text, record.step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


def begin(record: Record) -> TensorBoard:
    """Begin a record, or go on with it."""
    return TensorBoard(record)
