"""Profiles: what a cell asks of a cluster. One YAML file each, in ``slurm/profiles`` or anywhere.

A profile may extend another one (``extends: gpu``); a grid may change it for some cells (``overrides`` with ``profile.…``
keys). No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bench.config import Config
from bench.errors import BenchError, unknown
from bench.spec.messages import validate
from bench.yaml import read_yaml

PROFILES = Path(__file__).parent / "profiles"
_TIME = re.compile(
    r"(?P<d>\d+)-(?P<dh>\d+)(?::(?P<dm>\d+)(?::(?P<ds>\d+))?)?|(?P<a>\d+)(?::(?P<b>\d+)(?::(?P<c>\d+))?)?"
)


def minutes(time: str | int) -> int:
    """Return a Slurm time limit in minutes, rounded up: ``90``, ``1:30:00``, ``90:00``, ``2-12``, ``2-12:30:00``.

    Raises:
        ValueError: if it is none of Slurm's formats, or nothing at all.
    """
    found = _TIME.fullmatch(str(time))
    if found is None:
        raise ValueError(
            f"'{time}' is no time limit; Slurm takes minutes, minutes:seconds, hours:minutes:seconds, days-hours, "
            "days-hours:minutes or days-hours:minutes:seconds"
        )
    part = {key: int(value) for key, value in found.groupdict().items() if value is not None}
    if "d" in part:
        seconds = 86400 * part["d"] + 3600 * part["dh"] + 60 * part.get("dm", 0) + part.get("ds", 0)
    elif "c" in part:
        seconds = 3600 * part["a"] + 60 * part["b"] + part["c"]
    else:
        seconds = 60 * part["a"] + part.get("b", 0)
    if seconds == 0:
        raise ValueError("a time limit must be more than 0")
    return -(-seconds // 60)


def times(memory: str, count: int) -> str:
    """Return a multiple of an amount of memory as Slurm writes it, ``16G``."""
    return f"{int(memory.rstrip('KMGT')) * count}{memory.lstrip('0123456789')}"


def _time(value: str | int) -> str | int:
    minutes(value)
    return value


def _matching(pattern: str, what: str) -> Any:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"'{value}' is no {what}")
        return value

    return AfterValidator(check)


def _one_line(value: str) -> str:
    if "\n" in value:
        raise ValueError("must be one line")
    return value


# Options of sbatch that the harness sets itself, and those for which a profile has a key.
OURS = frozenset(
    {
        "array",
        "chdir",
        "error",
        "input",
        "job-name",
        "nodes",
        "ntasks",
        "ntasks-per-node",
        "no-requeue",
        "open-mode",
        "output",
    }
    | {"parsable", "requeue", "signal", "test-only", "wait", "wrap"}
)
KEYS = {
    **{name: name for name in ("partition", "account", "qos", "time", "constraint", "exclude", "exclusive")},
    **{
        "mem": "memory",
        "mem-per-cpu": "memory",
        "mem-per-gpu": "memory",
        "cpus-per-task": "cpus",
        "cpus-per-gpu": "cpus",
    },
    **dict.fromkeys(("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"), "gpus"),
}


def _option(name: str) -> str:
    if name in OURS:
        raise ValueError(f"the harness sets --{name} itself; leave it out")
    if name in KEYS:
        raise ValueError(f"write the profile's key `{KEYS[name]}` instead of the option --{name}")
    return name


Line = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, _matching(r"[\w.,@+-]+", "name that sbatch accepts")]
Memory = Annotated[str, _matching(r"[1-9]\d*[KMGT]?", "amount of memory; write e.g. 32G or 4000M")]
Gpus = Annotated[str, _matching(r"[\w.-]+:[1-9]\d*", "GPU request; write a number, or type:number, e.g. a100:1")]
Variable = Annotated[str, _matching(r"[A-Za-z_]\w*", "name of an environment variable")]
Option = Annotated[str, _matching(r"[a-z][a-z0-9-]*", "long option of sbatch; write it without the dashes")]


class Retries(Config):
    """How often a cell is submitted again by itself, by kind of failure; it goes on from its checkpoint."""

    infrastructure: NonNegativeInt = 3


class Profile(Config):
    """What a cell asks of a cluster.

    Attributes:
        description: one line.
        extends: the profile whose values this one changes: a name in ``slurm/profiles``, or a path beside this file.
        executor: `slurm`, or `local`: processes on this machine that outlive the shell (submitit's LocalExecutor).
        partition: one or more, separated by commas; null is the cluster's default.
        account: to charge.
        qos: quality of service.
        time: limit per job, in any of Slurm's formats. A run longer than that goes on in the requeued job.
        gpus: per cell, a number or type:number. With any, a cell refuses to train on the CPU; on several, all of one node,
            it has a process each (see ``bench.spec.resources.Resources``), and `cpus` and `memory` are of all of them.
        gpu_memory: GB (10^9 bytes) per GPU; preflight compares the predicted memory with it.
        cpus: per cell.
        memory: of the host, per cell.
        constraint: features of the node.
        exclusive: the whole node.
        exclude: nodes never to use.
        modules: loaded before anything else (``module load``).
        setup: lines of shell before the cell starts.
        environment: variables of the cell.
        container: what stands before the interpreter, e.g. ``apptainer exec --nv /images/torch.sif``. It needs no
            ``scontrol`` in there.
        python: the interpreter in the job; null is the one that submits.
        options: further long options of sbatch, without the dashes, e.g. ``{reservation: icml, nice: 100}``.
        grace: seconds before the time limit, or after a preemption, in which a cell must write its checkpoint; Slurm sends
            USR2 that early.
        store_wait: seconds for which a job waits for a store that can't be seen or written on its node.
        max_requeues: how often a job requeues itself, after which a time limit makes its cell `timed-out`.
        retries: how often a cell is submitted again by itself after a failure, by its kind: `infrastructure` is what isn't
            the cell's fault (a node that fails it before its first step or by a fault of its own, that can't write the
            store, or that dies). Other nodes are preferred.
        pack: cells of one job, side by side on its GPU; `cpus` and `memory` are of each of them. Their predicted memory
            must fit into `gpu_memory` together.
        parallel: cells at a time, over all arrays; null leaves it to the cluster, and to the cores with `local`.
    """

    description: str = ""
    extends: str | None = None
    executor: Literal["slurm", "local"] = "slurm"
    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    time: Annotated[str | int, AfterValidator(_time)] = "1-00:00:00"
    gpus: NonNegativeInt | Gpus = 0
    gpu_memory: PositiveFloat | None = None
    cpus: PositiveInt = 4
    memory: Memory = "16G"
    constraint: Line | None = None
    exclusive: bool = False
    exclude: Annotated[str, _matching(r"[\w.,\[\]-]+", "list of nodes")] | None = None
    modules: list[Annotated[str, _matching(r"[\w./+-]+", "module")]] = Field(default=[])
    setup: list[Line] = Field(default=[])
    environment: dict[Variable, Line] = Field(default={})
    container: Line | None = None
    python: Line | None = None
    options: dict[Annotated[Option, AfterValidator(_option)], Line | int | bool] = Field(default={})
    grace: PositiveInt = 120
    store_wait: PositiveInt = 300
    max_requeues: NonNegativeInt = 100
    retries: Retries = Retries()
    pack: PositiveInt = 1
    parallel: PositiveInt | None = None

    @property
    def gpu_count(self) -> int:
        """Number of GPUs per cell."""
        return int(str(self.gpus).rpartition(":")[2])

    def resources(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a cell's resources on this profile, where the grid's are given."""
        if not self.gpu_count:
            return dict(given)
        # A node without its GPU must fail the cell, not train it on the CPU for days.
        return {**given, "device": "cuda", "processes": self.gpu_count}

    @model_validator(mode="after")
    def _packed_by_slurm(self) -> Profile:
        if self.pack > 1 and self.gpu_count > 1:
            raise ValueError("pack: cells share one GPU, and each of these has several; write gpus: 1 or pack: 1")
        if self.pack > 1 and self.executor == "local":
            raise ValueError(
                "pack: only with the executor slurm; with local, `parallel` says how many cells run at a time"
            )
        return self

    def changed(self, changes: Mapping[str, Any], where: str) -> Profile:
        """Return the profile with some keys changed.

        Raises:
            BenchError: for an unknown key or an impossible value.
        """
        return validate(Profile, {**self.model_dump(), **changes}, where) if changes else self


def profile_names() -> list[str]:
    """Return the profiles that ship with the harness."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def _path(profile: str, beside: Path) -> Path:
    if profile.endswith((".yaml", ".yml")) or "/" in profile:
        path = (beside / profile).resolve()
        if not path.is_file():
            raise BenchError(f"{profile}: no such profile file")
        return path
    if profile not in profile_names():
        raise unknown("profile", profile, profile_names())
    return PROFILES / f"{profile}.yaml"


def _merged(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise BenchError(f"{path}: extends itself, by way of {', '.join(p.name for p in seen)}")
    content = read_yaml(path)
    if content is None:
        raise BenchError(f"{path}: an empty profile")
    validate(Profile, content, f"{path}: ")
    base = content.get("extends")
    return {**(_merged(_path(base, path.parent), (*seen, path)) if base else {}), **content}


def read_profile(profile: str) -> Profile:
    """Read a profile given as a name in ``slurm/profiles`` or as a path.

    Raises:
        BenchError: one line for all problems of the file.
    """
    path = _path(profile, Path())
    return validate(Profile, _merged(path, ()), f"{path}: ")
