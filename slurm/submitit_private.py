"""All that is used of submitit beyond its documented interface; ``tests/slurm/test_submitit.py`` fails when it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RUNNER = "submitit.core._submit"  # the module that a job runs; it takes the folder of the pickles
# The parameters of an executor by the names that the script maker has for them.
_RENAMED = {"name": "job_name", "timeout_min": "time", "tasks_per_node": "ntasks_per_node"}


def sbatch_script(command: str, folder: Path, parameters: Mapping[str, object], tasks: int) -> str:
    """Return the sbatch script that submitit would submit.

    Args:
        command: what the job runs.
        folder: of pickles and logs.
        parameters: as ``AutoExecutor.update_parameters`` takes them.
        tasks: of the array; one makes a job without an array.
    """
    from submitit.slurm.slurm import _make_sbatch_string

    asked: dict[str, Any] = {_RENAMED.get(key, key.removeprefix("slurm_")): value for key, value in parameters.items()}
    if tasks > 1:
        asked["map_count"] = tasks
    return str(_make_sbatch_string(command=command, folder=folder, **asked))


def read_pickle(folder: Path, job: str) -> Any:
    """Return the first argument of what a job runs; the others as for :func:`write_pickle`."""
    from submitit.core.utils import DelayedSubmission, JobPaths

    return DelayedSubmission.load(JobPaths(folder, job_id=job).submitted_pickle).args[0]


def write_pickle(folder: Path, job: str, function: Callable[..., object], *arguments: object) -> None:
    """Write what a job runs to where it looks for it, unless it is there already.

    Args:
        folder: of pickles and logs.
        job: its id, ``123`` or ``123_4``.
        function: of an importable module, so that it is pickled by its name.
        arguments: its arguments.
    """
    from submitit.core.utils import DelayedSubmission, JobPaths

    path = JobPaths(folder, job_id=job).submitted_pickle
    if not path.exists():
        DelayedSubmission(function, *arguments).dump(path)
