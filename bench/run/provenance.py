"""What a run ran on: recorded for every attempt, so that a number can be traced to what made it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from typing_extensions import NotRequired, TypedDict

from bench import NUMERICS, __version__
from bench.files import REPOSITORY, file_digest, read_json
from bench.machine import cpu_model, usable_cores
from bench.registry import plugin_paths

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
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "simplejpeg",
    "scipy",
    "pandas",
    "submitit",
    "pydantic",
)
OPTIONAL = ("timm",)  # of them, what only some plug-ins need
# Environment variables by which libraries choose other kernels, whatever torch says that it asked for.
KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDNN_CONV_WSCAP_DBG",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_MAX_CPU_ISA",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_V8_API_DISABLED",
)
COMPUTING = ("bench", "datasets", "methods")  # rooms whose code can move a result …
SHOWING = ("bench/cli", "bench/grids", "bench/report")  # … and what in them can't


class CodeState(TypedDict):
    """What the code was.

    Attributes:
        git_sha: its commit.
        git_dirty: whether its tree has changes, or a plug-in file is in no commit, or changed since.
        git_problem: why git doesn't say, where there is a checkout.
        snapshot: names the copy that a queued job runs.
    """

    git_sha: str | None
    git_dirty: bool | None
    git_problem: NotRequired[str]
    snapshot: NotRequired[str]


def _ask_git(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask git in its own language.

    Raises:
        FileNotFoundError: if there is no git here.
    """
    own = {**os.environ, "LC_ALL": "C"}
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", env=own, check=False
    )


def _git(*arguments: str, folder: Path = REPOSITORY) -> str | None:
    done = _ask_git(*arguments, folder=folder)
    return done.stdout.strip() if done.returncode == 0 else None


def git_problem(checkout: Path = REPOSITORY) -> str | None:
    """Return why git says nothing of a checkout, in one line; None where it does, or where there is no checkout."""
    if not (checkout / ".git").exists() or (checkout / SNAPSHOT).exists():
        return None
    try:
        done = _ask_git("rev-parse", "HEAD", folder=checkout)
    except FileNotFoundError:
        return f"runs record no commit: {checkout} is a git checkout, and git is not installed"
    if done.returncode == 0:
        return None
    if "dubious ownership" in done.stderr:
        owner, allow = checkout.stat().st_uid, f"git config --global --add safe.directory {shlex.quote(str(checkout))}"
        return f"runs record no commit: git refuses {checkout}, whose owner is another user (uid {owner}); allow it: {allow}"
    said = done.stderr.strip().splitlines() or ["no reason"]
    return f"runs record no commit: git refuses {checkout}: {said[0]}"


def _uncommitted(plugin: Path) -> bool:
    """Tell whether a plug-in file is in no repository, not in a commit of its own, or changed since."""
    path = plugin.resolve()
    if not path.parent.is_dir() or not _git("ls-files", "--", path.name, folder=path.parent):
        return True
    return _git("status", "--porcelain", "--", path.name, folder=path.parent) != ""


def plugin_hashes() -> dict[str, str]:
    """Return the SHA-256 of each plug-in file by its name; a name that is there before gets a number: `mine.py 2`.

    A file that can't be read is left out: what it would have registered is missing, and whoever asks for it says so.
    """
    found, names = dict[str, str](), Counter[str]()
    for path in plugin_paths():
        names[path.name] += 1
        name = path.name if names[path.name] == 1 else f"{path.name} {names[path.name]}"
        with contextlib.suppress(OSError):
            found[name] = file_digest(path)
    return found


def code_digest(root: Path = REPOSITORY) -> str:
    """Return a hash of the code that can move a result, so that two trees with changes can be told apart.

    The same in a checkout and in a snapshot of it. What reports, and the grids, are left out.
    """
    digest = hashlib.sha256()
    for path in sorted(path for room in COMPUTING for path in (root / room).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(SHOWING):
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def code_state() -> CodeState:
    """Return the commit of the code and whether anything has changed since; None where this is no checkout.

    In a snapshot, which queued jobs run (see ``slurm/snapshot.py``), it is what was true when the snapshot was made.
    """
    known = read_json(REPOSITORY / SNAPSHOT)
    if known is not None:
        return cast(CodeState, known)
    try:
        changes = _git("status", "--porcelain", "--untracked-files=no")
        dirty = True if any(map(_uncommitted, plugin_paths())) else None if changes is None else bool(changes)
        found = CodeState(git_sha=_git("rev-parse", "HEAD"), git_dirty=dirty)
    except FileNotFoundError:  # no git here
        found = {"git_sha": None, "git_dirty": None}
    why = git_problem() if found["git_sha"] is None else None
    return found if why is None else {**found, "git_problem": why}


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
        "code_sha256": code_digest(),
        "plugins": plugin_hashes(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "side_by_side": int(os.environ.get("BENCH_SIDE_BY_SIDE", "1")),
        "kernel_variables": {name: os.environ[name] for name in KERNEL_VARIABLES if name in os.environ},
        "slurm": {k[6:].lower(): os.environ[k] for k in SLURM_FACTS if k in os.environ} or None,
    }
