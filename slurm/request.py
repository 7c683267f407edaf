"""What Slurm is asked for: cells grouped by their resources, and each group's request as submitit and sbatch take it."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.machine import usable_cores
from bench.plan.cells import PlannedCell
from bench.spec.shares import check_shares
from slurm import commands, snapshot
from slurm.commands import SlurmError
from slurm.plain_path import plain
from slurm.profiles import Profile, minutes, times
from slurm.submitit_private import RUNNER, sbatch_script
from slurm.task import ASK_OUTSIDE, NO_STORE, WRONG_SETUP

if TYPE_CHECKING:
    from submitit import AutoExecutor


@dataclass(frozen=True)
class ArrayRequest:
    """Cells that ask for the same resources; they become one job array.

    Attributes:
        profile: the resources.
        cells: in grid order.
        unavoidable: nodes that fail cells, but are not excluded because no other node could take the jobs.
    """

    profile: Profile
    cells: tuple[PlannedCell, ...]
    unavoidable: tuple[str, ...] = ()

    @property
    def tasks(self) -> int:
        """Number of tasks: a cell each, or as many as are packed, or with `local` as many workers as may run at a time."""
        if self.profile.executor == "slurm":
            return -(-len(self.cells) // self.profile.pack)
        workers = self.profile.parallel or max(usable_cores() // self.profile.cpus, 1)
        return min(workers, len(self.cells))


def array_requests(
    cells: Sequence[PlannedCell], profile: Profile, where: str, size: int, bad_nodes: Sequence[str] = ()
) -> list[ArrayRequest]:
    """Group cells by what they ask for, in grid order, and split what is larger than an array can be.

    Args:
        cells: to submit.
        profile: of all of them; each may change it (see ``PlannedCell.profile``).
        where: the grid's path, for messages.
        size: the most tasks of an array.
        bad_nodes: excluded beside those of the profile, where other nodes can take the jobs.

    Raises:
        BenchError: if a cell's change is invalid, or its GPUs can't share its batches.
    """
    known: dict[str, Profile] = {}
    groups: dict[str, list[PlannedCell]] = {}
    for planned in cells:
        key = repr(sorted(planned.profile.items()))
        if key not in known:
            known[key] = profile.changed(planned.profile, f"{where}: profile: ")
        check_shares([planned.cell], max(known[key].gpu_count, 1), f"{where}: profile: gpus: {known[key].gpus}")
        groups.setdefault(known[key].model_dump_json(), []).append(planned)
    requests = []
    for text, members in groups.items():
        asked, unavoidable = exclude_where_possible(Profile.model_validate_json(text), bad_nodes)
        asked = asked.model_copy(update={"pack": min(asked.pack, len(members))})
        step = size * asked.pack if asked.executor == "slurm" else len(members)
        parts = [tuple(members[i : i + step]) for i in range(0, len(members), step)]
        requests += [ArrayRequest(asked, part, unavoidable) for part in parts]
    if profile.executor == "slurm" or profile.parallel is None or len(requests) < 2:
        return requests  # on Slurm `slurm.sharing` deals the limit out
    share = max(profile.parallel // len(requests), 1)
    return [replace(r, profile=r.profile.model_copy(update={"parallel": share})) for r in requests]


# -- excluded nodes ----------------------------------------------------------------------------------------------------


def excluding(profile: Profile, nodes: Iterable[str]) -> Profile:
    """Return the profile with further nodes excluded."""
    exclude = ",".join(dict.fromkeys([*filter(None, [profile.exclude]), *nodes])) or None
    return profile.model_copy(update={"exclude": exclude})


def exclude_where_possible(profile: Profile, bad_nodes: Sequence[str]) -> tuple[Profile, tuple[str, ...]]:
    """Return the profile without the nodes that fail cells, or as it is where no other node could take its jobs.

    Slurm itself tells: it knows partitions, features, GPUs, and the nodes that are down.

    Returns:
        The profile, and the nodes that had to stay.
    """
    if not bad_nodes or profile.executor == "local":
        return profile, ()
    without = excluding(profile, bad_nodes)
    if not commands.available() or refusal(without) is None or refusal(profile) is not None:
        return without, ()
    return profile, tuple(bad_nodes)


def refusal(profile: Profile) -> str | None:
    """Ask the controller whether it would take a job; account, QoS, GPUs, nodes and all options are checked.

    Returns:
        None, or why it would not.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.sh"
        path.write_text(script(profile, Path(folder), Path(folder), "bench-test", 1), encoding="utf-8")
        try:
            commands.ask("sbatch", "--test-only", str(path))
        except SlurmError as error:
            return str(error).removeprefix("sbatch: ")
    return None


# -- submitit's parameters ---------------------------------------------------------------------------------------------


def setup_lines(profile: Profile, code: Path, variables: str) -> list[str]:
    """Return the shell's lines before the cell: modules, variables, the profile's own. One that fails ends the job.

    Args:
        profile: what is asked for.
        code: the snapshot that runs.
        variables: path of the file that sets the profile's variables; "" where it has none.
    """
    lines = [f"module load {name}" for name in profile.modules]
    lines += [f". {shlex.quote(variables)}"] if variables else []
    lines += [f"export {key}={shlex.quote(value)}" for key, value in snapshot.environment(code).items()]
    lines += profile.setup
    if profile.executor == "slurm":
        return [f"bench_wrong_setup={WRONG_SETUP}", *_shell("setup"), *lines, "trap - ERR"]
    # Submitit joins them by `&&`. It takes the shell's process id for the job's: the trap keeps bash from replacing itself
    # by the last command.
    return ["trap : EXIT", f"cd {shlex.quote(str(code))}", *lines]


def _prologue(profile: Profile, folder: Path, code: Path) -> list[str]:
    """Return the lines of shell by which a job waits for the store, and logs there."""
    known = {"jobs": str(folder), "code": str(code), "patience": profile.store_wait, "no_store": NO_STORE}
    # Within a container there may be no scontrol; outside of it the interpreter that submits knows how to requeue the job.
    known |= {"ask_outside": ASK_OUTSIDE, "python": sys.executable if profile.container else ""}
    return [*(f"bench_{key}={shlex.quote(str(value))}" for key, value in known.items()), *_shell("prologue")]


def _shell(name: str) -> list[str]:
    return (Path(__file__).parent / f"{name}.sh").read_text("utf-8").splitlines()


def parameters(profile: Profile, folder: Path, code: Path, name: str, variables: str = "") -> dict[str, object]:
    """Return what ``AutoExecutor.update_parameters`` is given for a profile.

    Args:
        profile: what is asked for.
        folder: of pickles and logs.
        code: the snapshot that runs.
        name: of the job.
        variables: see :func:`setup_lines`.
    """
    shared = {"name": name, "timeout_min": minutes(profile.time)}
    setup = setup_lines(profile, code, variables)
    if profile.executor == "local":
        return {**shared, "local_setup": setup}
    wanted = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "mem": times(profile.memory, profile.pack),
        "gres": f"gpu:{profile.gpus}" if profile.gpus else None,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "exclusive": profile.exclusive or None,
        "signal_delay_s": profile.grace,
        "setup": [*_prologue(profile, folder, code), *setup],
        # Since Slurm 22.05 a step doesn't take its CPUs from its job. What it prints goes where the script's output goes.
        "srun_args": [f"--cpus-per-task={profile.cpus * profile.pack}", "--output=all", "--error=all"],
        "additional_parameters": {
            "chdir": "/",  # the script goes to the snapshot when it sees it
            "output": "/dev/null",
            "error": "/dev/null",
            "requeue": True,
            **{key: value for key, value in profile.options.items() if value is not False},
        },
        "array_parallelism": max(profile.parallel // profile.pack, 1) if profile.parallel else 1_000_000,
    }
    slurm = {f"slurm_{key}": value for key, value in wanted.items() if value is not None}
    return {**shared, "nodes": 1, "tasks_per_node": 1, "cpus_per_task": profile.cpus * profile.pack, **slurm}


def python_command(profile: Profile) -> str:
    """Return the command that starts Python in a job.

    A job that is preempted while Python still starts must not die of the signal, so USR2 is ignored until submitit listens.
    """
    interpreter = shlex.quote(profile.python or sys.executable)
    command = f"{profile.container} {interpreter}" if profile.container else interpreter
    return command if profile.executor == "local" else f'sh -c \'trap "" USR2; exec "$@"\' sh {command}'


def make_executor(profile: Profile, folder: Path, code: Path, name: str, variables: str) -> AutoExecutor:
    """Return submitit's executor for an array; arguments as for :func:`parameters`.

    Raises:
        BenchError: if there is no Slurm here.
    """
    import submitit

    if profile.executor == "slurm" and not commands.available():
        raise BenchError("there is no Slurm on this machine (no sbatch): log in where there is, or use --profile local")
    python = {f"{profile.executor}_python": python_command(profile)}
    executor = submitit.AutoExecutor(folder=folder, cluster=profile.executor, **python)
    executor.update_parameters(**parameters(profile, folder, code, name, variables))
    return executor


def script(profile: Profile, folder: Path, code: Path, name: str, tasks: int) -> str:
    """Return the sbatch script of an array; for `local` the command of each worker."""
    folder, code = plain(folder, link=False), plain(code, link=False)
    variables = str(folder.parent / "environment.sh") if profile.environment else ""
    command = f"{python_command(profile)} -u -m {RUNNER} {shlex.quote(str(folder))}"
    if profile.executor == "local":
        lines = setup_lines(profile, code, variables)
        return "\n".join([f"# {tasks} processes on this machine, each:", *lines, command, ""])
    return sbatch_script(command, folder, parameters(profile, folder, code, name, variables), tasks)
