"""What a cell is computed with: nothing of it is part of the cell's id."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bench.bounds import Steps, Threads
from bench.config import Config

Device = Literal["auto", "cpu", "cuda"]
Compile = Literal[False, True, "reduce-overhead"]
KeptWeights = Literal["none", "last", "best", "both"]
TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class Resources(Config):
    """What must not change a result: none of this is part of a cell's id.

    Attributes:
        device: `auto` takes a GPU where there is one. A run that began on a GPU goes on on a CPU, or the reverse, only where
            that device is named here.
        processes: that train a cell together, each on a GPU of its own, or on its part of the CPU's threads. Their number
            must divide the cell's batches, which stay as they are. On a cluster the profile's `gpus` decides it.
        threads: CPU threads per cell. Sums depend on it, so 0 takes what the grid's first run in the store had: all cores
            that it could use (with GPUs, a GPU's share of them), on a cluster the profile's `cpus`. The number of workers
            doesn't change it, and a run that is resumed keeps the number it started with.
        loader_threads: threads that decode, also for evaluation; 0 takes all cores but one beside a GPU, else two.
        prefetch: batches made ahead.
        cache_mb: budget for decoded images in memory, per cell.
        checkpoint_every: iterations between checkpoints.
        checkpoint_seconds: a checkpoint is also written when this much time has passed.
        log_every: iterations between lines of losses in metrics.jsonl.
        compile: run the networks of training through ``torch.compile``. Sums are rounded in another order then, so it is
            off by default, written into every attempt, and kept when a run is resumed; evaluation is never compiled.
            ``reduce-overhead`` replays them as CUDA graphs, one launch each; it needs a GPU, and has not run on one yet.
        weights: what is kept of a run's weights when it has ended: ``both``, all that it has; ``last``; ``best`` (and those
            selected on held-out images); or ``none``. `evaluation.also` is made before; without weights there is no
            `evaluate`, `export` or `predict`.
        track: experiment trackers that are told of each run while it trains; none can harm it.
    """

    device: Device = "auto"
    processes: Annotated[PositiveInt, Field(le=1024)] = 1
    threads: Threads = 0
    loader_threads: Threads = 0
    prefetch: Annotated[PositiveInt, Field(le=1024)] = 4
    cache_mb: Annotated[NonNegativeInt, Field(le=10**9)] = 2048
    checkpoint_every: Steps = 1000
    checkpoint_seconds: Annotated[PositiveFloat, Field(le=1e9)] = 120.0
    log_every: Steps = 50
    compile: Compile = False
    weights: KeptWeights = "both"
    track: tuple[TrackerName, ...] = ()

    def of_process(self) -> Resources:
        """Return what each of a cell's processes has of threads and memory."""
        shares = {key: max(getattr(self, key) // self.processes, 1) for key in ("threads", "cache_mb")}
        return self if self.processes == 1 else self.model_copy(update=shares)

    @model_validator(mode="after")
    def _not_compiled(self) -> Resources:
        if self.processes > 1 and self.compile:
            raise ValueError("compile: networks that several processes divide can't be compiled; set it to false")
        return self
