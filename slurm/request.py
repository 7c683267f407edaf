"""What Slurm is asked for: cells grouped by their request, and each request as submitit and sbatch take it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.machine import usable_cores
from bench.plan.cells import PlannedCell
from slurm import commands, snapshot
from slurm.profiles import Profile, minutes


@dataclass(frozen=True)
class Bundle:
    """Cells with one and the same request: an array in the making."""

    profile: Profile
    cells: tuple[PlannedCell, ...]

    @property
    def tasks(self) -> int:
        """Number of tasks: a cell each, or with `local` as many lanes as may work at a time."""
        if self.profile.executor == "slurm":
            return len(self.cells)
        lanes = self.profile.parallel or max(usable_cores() // self.profile.cpus, 1)
        return min(lanes, len(self.cells))


def bundle(
    cells: Sequence[PlannedCell], profile: Profile, where: str, size: int, bad_nodes: Sequence[str] = ()
) -> list[Bundle]:
    """Group cells by what they ask for, in grid order, and split what is larger than an array can be.

    Args:
        cells: to submit.
        profile: of all of them; each may change it (see ``PlannedCell.profile``).
        where: the grid's path, for messages.
        size: the most tasks of an array.
        bad_nodes: left out, whatever a profile says.

    Raises:
        BenchError: if a cell's change is invalid.
    """
    known: dict[str, Profile] = {}
    groups: dict[str, list[PlannedCell]] = {}
    for planned in cells:
        key = repr(sorted(planned.profile.items()))
        if key not in known:
            changed = profile.changed(planned.profile, f"{where}: profile: ")
            exclude = ",".join([*filter(None, [changed.exclude]), *bad_nodes]) or None
            known[key] = changed.model_copy(update={"exclude": exclude})
        groups.setdefault(known[key].model_dump_json(), []).append(planned)
    bundles = []
    for text, members in groups.items():
        asked = Profile.model_validate_json(text)
        step = size if asked.executor == "slurm" else len(members)
        bundles += [Bundle(asked, tuple(members[i : i + step])) for i in range(0, len(members), step)]
    if profile.parallel is None or len(bundles) < 2:
        return bundles
    share = max(profile.parallel // len(bundles), 1)  # the throttle is an array's: all together keep to the wish
    return [replace(b, profile=b.profile.model_copy(update={"parallel": share})) for b in bundles]


# -- what submitit is told ---------------------------------------------------------------------------------------------


def setup_lines(profile: Profile, code: Path) -> list[str]:
    """Return the lines of shell that come before the cell: modules, variables, and the profile's own."""
    variables = {**profile.environment, **snapshot.environment(code)}
    exports = [f"export {key}={shlex.quote(value)}" for key, value in variables.items()]
    lines = [*(f"module load {name}" for name in profile.modules), *exports, *profile.setup]
    if profile.executor == "slurm":
        return lines
    # submitit takes the shell's process id for the job's: the trap keeps bash from replacing itself by the last command.
    return ["trap : EXIT", f"cd {shlex.quote(str(code))}", *lines]


def parameters(profile: Profile, code: Path, name: str) -> dict[str, Any]:
    """Return what ``AutoExecutor.update_parameters`` is given for a profile."""
    shared = {"name": name, "timeout_min": minutes(profile.time)}
    setup = setup_lines(profile, code)
    if profile.executor == "local":
        return {**shared, "local_setup": setup}
    wanted = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "mem": profile.memory,
        "gres": f"gpu:{profile.gpus}" if profile.gpus else None,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "exclusive": profile.exclusive or None,
        "signal_delay_s": profile.grace,
        "setup": setup,
        "srun_args": [f"--cpus-per-task={profile.cpus}"],  # since Slurm 22.05 a step doesn't take it from its job
        # Jobs start in the snapshot, so that no directory with other code comes first on Python's path.
        "additional_parameters": {
            "chdir": str(code),
            "requeue": True,
            **{key: value for key, value in profile.options.items() if value is not False},
        },
        "array_parallelism": profile.parallel or 1_000_000,
    }
    slurm = {f"slurm_{key}": value for key, value in wanted.items() if value is not None}
    return {**shared, "nodes": 1, "tasks_per_node": 1, "cpus_per_task": profile.cpus, **slurm}


def python_command(profile: Profile) -> str:
    """Return the command that starts Python in a job.

    A job that is preempted while Python still starts must not die of the signal, so USR2 is ignored until submitit listens.
    """
    interpreter = shlex.quote(profile.python or sys.executable)
    command = f"{profile.container} {interpreter}" if profile.container else interpreter
    return command if profile.executor == "local" else f'sh -c \'trap "" USR2; exec "$@"\' sh {command}'


def make_executor(profile: Profile, folder: Path, code: Path, name: str) -> Any:
    """Return submitit's executor for an array.

    Raises:
        BenchError: if there is no Slurm here.
    """
    import submitit

    if profile.executor == "slurm" and not commands.available():
        raise BenchError("there is no Slurm on this machine (no sbatch): log in where there is, or use --profile local")
    python = {f"{profile.executor}_python": python_command(profile)}
    executor = submitit.AutoExecutor(folder=folder, cluster=profile.executor, **python)
    executor.update_parameters(**parameters(profile, code, name))
    return executor


def script(profile: Profile, folder: Path, code: Path, name: str, tasks: int) -> str:
    """Return the sbatch script of an array; for `local` the command of each lane."""
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{python_command(profile)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    asked = parameters(profile, code, name)
    if profile.executor == "local":
        return "\n".join([f"# {tasks} processes on this machine, each:", *asked["local_setup"], command, ""])
    rename = {"name": "job_name", "timeout_min": "time", "tasks_per_node": "ntasks_per_node"}
    asked = {rename.get(key, key.removeprefix("slurm_")): value for key, value in asked.items()}
    if tasks > 1:
        asked["map_count"] = tasks
    text: str = _make_sbatch_string(command=command, folder=folder, **asked)
    return text
