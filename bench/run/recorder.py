"""What a run keeps of its training: metrics, timing, checkpoints and best weights, in files of its directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, cast

from torch import Tensor

from bench.aside import set_aside
from bench.errors import Damaged
from bench.files import append_jsonl, parse_json, sync, write_json
from bench.patience import LARGE, exists, open_file, read_bytes
from bench.run.journal import Journal
from bench.store.confusion import Confusion, confusion_path, matrices, read_confusion, save_confusion
from bench.store.failures import Fault, classify
from bench.store.measured import sound_memory
from bench.store.results import check_weights
from bench.store.run import Run, State
from bench.track.tracker import Background, record_of
from bench.train import checkpoint

if TYPE_CHECKING:
    from bench.train.loop import CheckpointContent, Row, Trainer
    from bench.train.meters import MemoryReport


class Listener(Protocol):
    """Who is told what is written of a run's training; it may do nothing that takes long or fails."""

    def log(self, row: Row) -> None:
        """Take a line of metrics."""

    def log_timing(self, row: Row) -> None:
        """Take a line of timing."""

    def close(self) -> None:
        """Take the end of the attempt."""


class Recorder:
    """Writes what the loop passes to it, and restores a trainer from it.

    Args:
        run: the directory.
        still_ours: raises if another process has the run now; asked before anything that lasts is written.

    Attributes:
        set_aside: a line for the checkpoint, where :meth:`restore` couldn't go on from it.
    """

    def __init__(self, run: Run, still_ours: Callable[[], None]) -> None:
        self.run = run
        self._still_ours = still_ours
        self._writer = checkpoint.Writer(still_ours)
        self._listeners: list[Listener] = []
        self.set_aside: list[str] = []

    def log(self, row: Row) -> None:
        """Append a line to metrics.jsonl."""
        append_jsonl(self.run.metrics, row)
        for listener in self._listeners:
            listener.log(row)

    def log_timing(self, row: Row) -> None:
        """Append a line to timing.jsonl."""
        append_jsonl(self.run.timing, row)
        for listener in self._listeners:
            listener.log_timing(row)

    def log_memory(self, report: MemoryReport) -> None:
        """Write memory.json: what is measured of a step or of an evaluation, beside what is known of the other."""
        write_json(self.run.memory, _with_other(cast("MemoryReport", sound_memory(self.run)), report))

    def checkpoint(self, content: CheckpointContent) -> None:
        """Write a checkpoint, which names the length that metrics.jsonl has now; so that file is synced first."""
        self._still_ours()
        length = sync(self.run.metrics) if exists(self.run.metrics) else 0
        progress = {**content["progress"], "metrics_bytes": length}
        self._writer.write(self.run.checkpoint, {**content, "progress": progress})

    def keep_weights(self, which: str, weights: dict[str, Tensor]) -> None:
        """Write the weights of the `best` or `selected` evaluation so far."""
        self._writer.write(self.run.weights(which), weights)

    def keep_confusion(self, which: str, confusion: Confusion) -> None:
        """Write the matrices of an evaluation that is kept, before any later checkpoint that knows of it."""
        path = confusion_path(self.run, which)
        self._writer.call(lambda: save_confusion(path, confusion, self._still_ours))

    def finish(self) -> None:
        """Wait until everything is on the disk; raises what went wrong there."""
        self._writer.finish()

    def close(self) -> None:
        """Wait, and end the writing thread; errors are no longer raised."""
        self._writer.close()
        for listener in self._listeners:
            listener.close()

    # -- going on ------------------------------------------------------------------------------------------------

    def restore(self, make: Callable[[], Trainer]) -> Trainer:
        """Return a trainer as the last checkpoint left it, or at the start; metrics written after it are cut off.

        A checkpoint that is damaged, or counts on files that are, is set aside and the run starts over, which costs time and
        changes no result. One that can't be read at the moment is not damaged.

        Args:
            make: returns the trainer at its start.

        Raises:
            OSError: if the file system fails, again and again.
        """
        trainer, length = make(), 0
        try:
            length = self._go_back(trainer)
        except Damaged as error:
            self.set_aside = [set_aside(self.run.checkpoint, f"{error.why}; the run starts over")]
            trainer = make()
        with open_file(self.run.metrics, "ab") as file:
            file.truncate(length)
        step = trainer.stepper.done
        self._listeners.append(Journal(trainer.cell.schedule.iterations, step))
        self._listeners += [Background(name, record_of(self.run, name, step)) for name in trainer.resources.track]
        return trainer

    def _go_back(self, trainer: Trainer) -> int:
        """Load the checkpoint, where there is one; return the length of metrics.jsonl that belongs to it."""
        content = checkpoint.load(self.run.checkpoint)
        if content is None:
            return 0
        try:
            progress = dict(content["progress"])
            length = int(progress.pop("metrics_bytes"))
            self._check_metrics(length)
            self._check_kept(progress["evaluations"])
            trainer.restore({"method": content["method"], "optimizer": content["optimizer"], "progress": progress})
        except Damaged:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            failure = classify(error)
            if failure.state is not State.FAILED or failure.fault is not Fault.CELL:
                raise  # memory, a GPU or a file system: it says nothing of the checkpoint
            text = " ".join(str(error).split())[:200]
            why = f"not the checkpoint of this cell ({type(error).__name__}: {text})"
            raise Damaged(self.run.checkpoint, why) from None
        return length

    def _check_metrics(self, length: int) -> None:
        """Raise ``Damaged`` if the lines that a checkpoint counts on aren't all there, as after a power cut."""
        path = self.run.metrics
        lines = read_bytes(path, LARGE)[:length] if exists(path) else b""
        if len(lines) != length:
            raise Damaged(path, f"it counts on {length} bytes of {path.name}, of which {len(lines)} are left")
        for line in lines.splitlines():
            try:
                parse_json(line, path, dict, nan=True)
            except Damaged:
                raise Damaged(path, f"it counts on {length} bytes of {path.name}, not all as written") from None

    def _check_kept(self, evaluations: Mapping[str, object]) -> None:
        """Raise ``Damaged`` if the weights or matrices of an evaluation that a checkpoint knows of can't be read."""
        for which in evaluations:
            if which != "last":  # those are written at the end
                try:
                    check_weights(self.run.weights(which), thorough=True)
                except FileNotFoundError:
                    raise Damaged(
                        self.run.weights(which), f"it counts on weights-{which}.pt, which is missing"
                    ) from None
                except Damaged as error:
                    raise Damaged(error.path, f"it counts on weights-{which}.pt: {error.why}") from None
        for which in matrices(self.run):
            read_confusion(self.run, which)


def _with_other(known: MemoryReport, report: MemoryReport) -> MemoryReport:
    """Return a report of a step with the kept evaluation's phase, or that of an evaluation with the kept step's."""
    from bench.train.evaluate import PHASE

    if not known or (PHASE not in report["phases"] and PHASE not in known["phases"]):
        return report

    def joined(kind: Literal["phases", "reserved"]) -> dict[str, int]:
        new = report.get(kind, {})
        return {**{k: v for k, v in known.get(kind, {}).items() if (k == PHASE) != (PHASE in new)}, **new}

    peaks: tuple[Literal["peak_memory_bytes", "peak_rss_bytes", "peak_reserved_bytes"], ...]
    peaks = ("peak_memory_bytes", "peak_rss_bytes", "peak_reserved_bytes")
    both: MemoryReport = {**report, "phases": joined("phases")}
    for key in peaks:
        if key in report:
            both[key] = max(report[key], known.get(key, 0))
    return {**both, "reserved": joined("reserved")} if "reserved" in report else both
