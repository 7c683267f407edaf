"""What a run ran on: recorded for every attempt, so that a number can be traced to what made it."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from typing_extensions import NotRequired, TypedDict

from bench import NUMERICS, __version__
from bench.files import REPOSITORY, read_json
from bench.machine import cpu_model, usable_cores

SNAPSHOT = "snapshot.json"  # the file at the root of a snapshot of the code that describes it
SLURM_FACTS = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_JOB_PARTITION",
    "SLURM_NODELIST",
    "SLURM_CPUS_PER_TASK",
)
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scipy", "pandas", "submitit", "pydantic")


class CodeState(TypedDict):
    """The commit of the code, and whether its tree has changes; `snapshot` names the copy that a queued job runs."""

    git_sha: str | None
    git_dirty: bool | None
    snapshot: NotRequired[str]


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def code_state() -> CodeState:
    """Return the commit of the code and whether the tree has changes; None where this is no checkout.

    In a snapshot, which queued jobs run (see ``slurm/snapshot.py``), it is what was true when the snapshot was made.
    """
    known = read_json(REPOSITORY / SNAPSHOT)
    if known is not None:
        return cast(CodeState, known)
    try:
        dirty = _git("status", "--porcelain", "--untracked-files=no")
        return {"git_sha": _git("rev-parse", "HEAD"), "git_dirty": None if dirty is None else bool(dirty)}
    except FileNotFoundError:  # no git here
        return {"git_sha": None, "git_dirty": None}


def package_versions() -> dict[str, str | None]:
    """Return the installed version of each package that can change a result."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def describe() -> dict[str, object]:
    """Return the environment of this process, without torch's view of the device (see ``bench.run.worker``)."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": sys.argv,
        "version": __version__,
        "numerics_version": NUMERICS,
        **code_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "slurm": {k[6:].lower(): os.environ[k] for k in SLURM_FACTS if k in os.environ} or None,
    }
