"""MLflow: an experiment per grid, in ``STORE/.track/mlflow/GRID/mlflow.db`` or where ``MLFLOW_TRACKING_URI`` says.

``mlflow ui --backend-store-uri sqlite:///STORE/.track/mlflow/GRID/mlflow.db`` shows it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from itertools import islice

from bench.errors import BenchError
from bench.locks import lock
from bench.track.tracker import Record

_TAG = "semisegbench.run"
_PARAMETERS, _LONGEST = 100, 500  # that MLflow takes at once; characters of a value
_PATIENCE = 60.0  # seconds in which other cells' processes make the database and the experiment


class MLflow:
    """Writes a run of the experiment that the grid is; it has the cell's id as a tag.

    A record that begins anew deletes the one before. Of one that goes on, steps that it has are not written again: a resumed
    run is bit-identical.
    """

    def __init__(self, record: Record) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        record.folder.mkdir(parents=True, exist_ok=True)
        database = record.folder.parent / "mlflow.db"
        with (record.folder.parent / "mlflow.lock").open("a", encoding="utf-8") as file:
            if not lock(file, seconds=_PATIENCE):
                raise BenchError(f"{file.name}: held by another process for {_PATIENCE:.0f} s")
            self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database.resolve()}")
            found = self._client.get_experiment_by_name(record.grid)
            files = (record.folder.parent / "artifacts").resolve().as_uri()
            experiment = found.experiment_id if found else self._client.create_experiment(record.grid, files)
        self._known: dict[str, int] | None = None
        before = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{record.run}'")
        if before and record.step:
            self._id, self._known = before[0].info.run_id, {}
            self._client.update_run(self._id, status="RUNNING")
            return
        for one in before:
            self._client.delete_run(one.info.run_id)
        tags = {_TAG: record.run}
        self._id = self._client.create_run(experiment, run_name=record.name, tags=tags).info.run_id
        self._write_config(record.config)

    def _write_config(self, config: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        rest = iter([Param(key, str(value)[:_LONGEST]) for key, value in config.items()])
        while some := list(islice(rest, _PARAMETERS)):
            self._client.log_batch(self._id, params=some)

    def _has(self, name: str, step: int) -> bool:
        """Tell whether a record that goes on has a step of a value."""
        if self._known is None:
            return False
        if name not in self._known:
            self._known[name] = max((m.step for m in self._client.get_metric_history(self._id, name)), default=-1)
        return step <= self._known[name]

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value in values.items() if not self._has(name, step)]
        if new:
            self._client.log_batch(self._id, metrics=new)

    def close(self) -> None:
        """Say that the record has ended; one that goes on begins again."""
        self._client.set_terminated(self._id)


def begin(record: Record) -> MLflow:
    """Begin a record, or go on with it."""
    return MLflow(record)
