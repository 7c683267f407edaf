"""What a run took: cost.json, and the throughput of the cell's shape for later projections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.files import write_json
from bench.store.measured import sound_memory
from bench.store.run import Run
from bench.store.throughput import Throughput, evaluations, keep

if TYPE_CHECKING:
    from bench.train.loop import Trainer


def write_cost(run: Run, trainer: Trainer) -> None:
    """Write cost.json, and the throughput of the cell's shape for later projections.

    `seconds` are those of training and evaluations, over all attempts; `training_…` is of training alone, which is what an
    optimizer step takes with waiting for data and for checkpoints, in seconds, images per second and a share. Files of
    earlier versions have `seconds_per_step`, `images_per_s` and `data_wait_share` instead, with evaluations in them.
    """
    from bench.train.meters import whole_run
    from bench.train.setup import hardware

    progress, steps, device = trainer.progress, max(trainer.stepper.done, 1), trainer.device
    memory, training = whole_run(device), progress.seconds - progress.evaluation_seconds
    cost = {
        "seconds": progress.seconds,
        "evaluation_seconds": progress.evaluation_seconds,
        "training_seconds_per_step": training / steps,
        "training_images_per_s": trainer.loader.images_per_step * steps / training,
        "training_wait_share": progress.data_wait_seconds / training,
        "device": str(device),
        **memory,
    }
    measured = sound_memory(run)  # a compiled step isn't measured on a CPU
    if peaks := [found["peak_memory_bytes"] for found in (memory, measured) if "peak_memory_bytes" in found]:
        cost["peak_memory_bytes"] = max(peaks)
    if phases := measured.get("phases"):
        cost["peak_memory_phase"] = max(phases, key=phases.__getitem__)
    write_json(run.cost, cost)
    evaluation = progress.evaluation_seconds / evaluations(trainer.cell)
    keep(
        run.path.parent,
        trainer.cell,
        Throughput(training / steps, evaluation, hardware(device, trainer.resources.processes), run.id),
    )
