"""Weights & Biases. Nothing is sent unless ``WANDB_MODE`` says ``online``; ``wandb sync`` sends it later."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from bench.track.tracker import Record


class Wandb:
    """Writes a run of the project that the grid is, under the id that the cell has.

    A record that goes on is told the steps since its checkpoint again. They have the same values, since a resumed run is
    bit-identical, and the same ``step``, over which everything is drawn.
    """

    def __init__(self, record: Record) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode = os.environ.get("WANDB_MODE", "offline")
        if record.step == 0 and mode == "offline":
            shutil.rmtree(record.folder / "wandb", ignore_errors=True)
        record.folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True)
        self._run = wandb.init(
            project=record.grid,
            name=record.name,
            id=record.run,
            config=dict(record.config),
            dir=str(record.folder),
            mode=mode,
            resume="allow",
            reinit="create_new",  # several cells may be told by one process
            settings=quiet,
        )
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of a step."""
        self._run.log({**values, "step": step})

    def close(self) -> None:
        """Write what is still held back."""
        self._run.finish()


def begin(record: Record) -> Wandb:
    """Begin a record, or go on with it."""
    return Wandb(record)
