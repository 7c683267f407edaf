"""What is used of submitit's private interface is still there, and does what is expected of it."""

from __future__ import annotations

import importlib
import inspect
import pickle
from pathlib import Path

import pytest

from bench.store.job import Job
from slurm import job, submitit_private
from slurm.profiles import Profile
from slurm.request import parameters
from slurm.task import Task


def test_the_script_maker_takes_what_a_profile_asks_for() -> None:
    module = importlib.import_module("submitit.slurm.slurm")
    make = getattr(module, "_make_sbatch_string", None)
    assert make is not None, "submitit has no _make_sbatch_string any more: slurm/submitit_private.py needs another way"
    known = set(inspect.signature(make).parameters)
    profile = Profile(partition="p", account="a", qos="q", gpus=1, constraint="c", exclude="n1", exclusive=True)
    asked = {key.removeprefix("slurm_") for key in parameters(profile, Path("folder"), Path("code"), "name")}
    asked -= set(submitit_private._RENAMED)
    missing = (asked | set(submitit_private._RENAMED.values()) | {"command", "folder", "map_count"}) - known
    assert not missing, f"submitit's script maker takes {sorted(missing)} no more: see slurm/submitit_private.py"


def test_the_module_that_jobs_run_is_there() -> None:
    found = importlib.util.find_spec(submitit_private.RUNNER)
    assert found is not None, f"submitit has no module {submitit_private.RUNNER} any more"


def test_a_task_is_pickled_by_the_names_of_importable_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job unpickles it in a snapshot of the code; what belongs to ``__main__`` would be copied into the pickle."""
    task = Task((Job("store", "cell"),), 1, 2)
    submitit_private.write_pickle(tmp_path, "7_0", job.run_task, task)
    (path,) = tmp_path.iterdir()
    assert path.name == "7_0_submitted.pkl"
    content = path.read_bytes()
    assert b"slurm.job" in content and b"run_task" in content and b"__main__" not in content
    delayed = pickle.loads(content)
    assert (delayed.function, delayed.args) == (job.run_task, (task,))
    submitit_private.write_pickle(tmp_path, "7_0", job.run_task, task)  # what is there stays
    assert path.read_bytes() == content
