"""Submitting: cells become job arrays, one per distinct request, through submitit's AutoExecutor."""

from __future__ import annotations

import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.attempt import Job
from bench.environment import usable_cores
from bench.errors import BenchError
from bench.plan import PlannedCell
from bench.store.run import Run
from bench.store.ticket import Ticket, read_ticket
from slurm import controller, records, snapshot
from slurm.profiles import Profile, minutes
from slurm.records import Array, Submission
from slurm.task import Task


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


def bundle(cells: Sequence[PlannedCell], profile: Profile, where: str, size: int) -> list[Bundle]:
    """Group cells by what they ask for, in grid order, and split what is larger than an array can be.

    Args:
        cells: to submit.
        profile: of all of them; each may change it (see ``PlannedCell.profile``).
        where: the grid's path, for messages.
        size: the most tasks of an array.

    Raises:
        BenchError: if a cell's change is invalid.
    """
    known: dict[str, Profile] = {}
    groups: dict[str, list[PlannedCell]] = {}
    for planned in cells:
        key = repr(sorted(planned.profile.items()))
        if key not in known:
            known[key] = profile.changed(planned.profile, f"{where}: profile: ")
        groups.setdefault(known[key].model_dump_json(), []).append(planned)
    bundles = []
    for text, members in groups.items():
        asked = Profile.model_validate_json(text)
        step = size if asked.executor == "slurm" else len(members)
        bundles += [Bundle(asked, tuple(members[i : i + step])) for i in range(0, len(members), step)]
    return bundles


# -- what submitit is told ---------------------------------------------------------------------------------------------


def setup_lines(profile: Profile, code: Path) -> list[str]:
    """Return the lines of shell that come before the cell: modules, variables, and the profile's own."""
    variables = {**profile.environment, **snapshot.environment(code)}
    exports = [f"export {key}={shlex.quote(value)}" for key, value in variables.items()]
    return [*(f"module load {name}" for name in profile.modules), *exports, *profile.setup]


def parameters(profile: Profile, code: Path, name: str) -> dict[str, Any]:
    """Return what ``AutoExecutor.update_parameters`` is given for a profile."""
    shared = {"name": name, "timeout_min": minutes(profile.time)}
    setup = setup_lines(profile, code)
    if profile.executor == "local":
        return {**shared, "local_setup": setup, "local_signal_delay_s": profile.grace}
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


def make_executor(profile: Profile, folder: Path, code: Path, name: str) -> Any:
    """Return submitit's executor for an array.

    Raises:
        BenchError: if there is no Slurm here.
    """
    import submitit

    if profile.executor == "slurm" and not controller.available():
        raise BenchError("there is no Slurm on this machine (no sbatch): log in where there is, or use --profile local")
    python = f"{profile.container} {shlex.quote(sys.executable)}" if profile.container else None
    executor = submitit.AutoExecutor(folder=folder, cluster=profile.executor, **{f"{profile.executor}_python": python})
    executor.update_parameters(**parameters(profile, code, name))
    return executor


def script(profile: Profile, folder: Path, code: Path, name: str, tasks: int) -> str:
    """Return the sbatch script of an array; for `local` the command of each lane."""
    from submitit.slurm.slurm import _make_sbatch_string

    python = f"{profile.container or ''} {shlex.quote(sys.executable)}".strip()
    command = f"{python} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    asked = parameters(profile, code, name)
    if profile.executor == "local":
        return "\n".join([f"# {tasks} processes on this machine, each:", *asked["local_setup"], command, ""])
    rename = {"name": "job_name", "timeout_min": "time", "tasks_per_node": "ntasks_per_node"}
    asked = {rename.get(key, key.removeprefix("slurm_")): value for key, value in asked.items()}
    if tasks > 1:
        asked["map_count"] = tasks
    text: str = _make_sbatch_string(command=command, folder=folder, **asked)
    return text


# -- submitting --------------------------------------------------------------------------------------------------------


def order(store: Path, grid: str, bundles: Sequence[Bundle], jobs: Sequence[Job], moves: int = 0) -> Submission:
    """Write down what is going to be submitted, and give every cell its ticket; Slurm hears nothing yet.

    Args:
        store: the run store.
        grid: the grid's name.
        bundles: the arrays.
        jobs: from ``bench.plan.write_cells``, at least one for every cell.
        moves: see :class:`Ticket`.

    Returns:
        The submission, whose arrays have no job id yet.
    """
    code = snapshot.take(records.folder(store) / "code")
    number = records.new_id()
    arrays = [
        Array(f"bench-{number}-{i}", [p.cell.id for p in b.cells], b.profile.model_dump(mode="json"), b.tasks)
        for i, b in enumerate(bundles)
    ]
    first = jobs[0]
    made = Submission(
        number, grid, str(code), arrays, socket.gethostname(), first.data, first.resources, first.retry, moves
    )
    made.write(store)
    for a, array in enumerate(arrays):
        for index, cell in enumerate(array.cells):
            Ticket(number, a, index, moves, made.time).write(Run(store / cell))
    return made


def send(store: Path, made: Submission, told: Callable[[Array], None] = lambda _: None) -> None:
    """Hand a submission's arrays to the executor, and write down each one's id as soon as it is known.

    Args:
        store: the run store.
        made: from :func:`order`.
        told: called after each array that was accepted.

    Raises:
        BenchError: if an array is refused; its cells, and those after it, lose their tickets.
    """
    for number, array in enumerate(made.arrays):
        if array.job_id is not None:
            continue
        try:
            array.job_id = _send_one(store, made, array)
        except Exception as error:
            give_up(store, made, range(number, len(made.arrays)))
            said = " ".join(str(error).split())
            raise BenchError(f"{array.name}: not accepted: {said}; {_accepted(made)}") from None
        made.write(store)
        told(array)


def _accepted(made: Submission) -> str:
    count = sum(len(a.cells) for a in made.arrays if a.job_id is not None)
    return f"{count} cells were accepted before it" if count else "nothing was submitted"


def give_up(store: Path, made: Submission, numbers: Sequence[int] | range) -> None:
    """Take the tickets of arrays that Slurm doesn't have."""
    for number in numbers:
        for cell in made.arrays[number].cells:
            run = Run(store / cell)
            ticket = read_ticket(run)
            if ticket is not None and ticket.submission == made.id:
                run.ticket.unlink()
        made.arrays[number].cells = []
    made.write(store)


def tasks_of(store: Path, made: Submission, array: Array) -> Iterator[Task]:
    """Yield the tasks of an array in order."""
    profile = Profile(**array.profile)
    resources = {**made.resources}
    if profile.gpus:
        resources["device"] = "cuda"  # a node without its GPU must fail the cell, not train it on the CPU for days
    jobs = [Job(str(store.resolve()), cell, made.data, resources, made.retry, made.id) for cell in array.cells]
    if profile.executor == "local":
        threads = resources.get("threads") or profile.cpus
        lane = tuple(replace(job, resources={**resources, "threads": threads}) for job in jobs)
        for _ in range(array.tasks):
            yield Task(lane, profile.max_requeues, profile.max_moves)
        return
    for job in jobs:
        yield Task((job,), profile.max_requeues, profile.max_moves)


def jobs_folder(store: Path, made: Submission) -> Path:
    """Return where submitit keeps a submission's scripts, pickles and logs."""
    return made.path(store).resolve() / "jobs"


def _send_one(store: Path, made: Submission, array: Array) -> str | list[int]:
    profile = Profile(**array.profile)
    executor = make_executor(profile, jobs_folder(store, made), Path(made.snapshot), array.name)
    jobs = executor.submit_array(list(tasks_of(store, made, array)))
    if profile.executor == "local":
        return [int(job.job_id) for job in jobs]
    return str(jobs[0].job_id).split("_")[0]


def move(store: Path, run: Run, job: Job, node: str, max_moves: int) -> bool:
    """Send a cell that a node failed at once to another node, as a job of its own. Called in the job that failed.

    Returns:
        Whether it was sent; where it wasn't, the cell stays `failed`, and ``retry`` is left to the user.
    """
    from submitit.helpers import clean_env

    ticket = read_ticket(run)
    old = None if ticket is None else records.read_submission(store, ticket.submission)
    if ticket is None or old is None or ticket.moves >= max_moves:
        return False
    array = old.arrays[ticket.array]
    profile = Profile(**array.profile)
    tried = {row["node"] for row in records.failures(store) if row["cell"] == run.id} | {node}
    excluded = ",".join(sorted({*tried, *records.bad_nodes(records.failures(store)), *filter(None, [profile.exclude])}))
    number = records.new_id()
    asked = profile.model_copy(update={"exclude": excluded}).model_dump(mode="json")
    made = replace(
        old,
        id=number,
        arrays=[Array(f"bench-{number}-0", [run.id], asked, 1)],
        moves=ticket.moves + 1,
        time=time.time(),
    )
    made.write(store)
    Ticket(number, 0, 0, made.moves, made.time).write(run)
    try:
        with clean_env():  # what is submitted here must not inherit this job's variables
            send(store, made)
    except BenchError as error:
        print(f"not moved away from {node}: {error}", flush=True)
        ticket.write(run)
        return False
    print(f"moved away from {node} to job {made.arrays[0].job_id}, which excludes {excluded}", flush=True)
    return True
