"""What can happen to a cluster and to who uses it, each as a method: aimed at cells that run, those hit least first."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.store.run import Run
from tests.slurm.cluster import Cluster, ancestors, is_worker, wait_until

NODES = ("n1", "n2", "n3")
SIGNALS = ("TERM", "INT", "HUP", "USR1", "USR2", "KILL")


class Victim(NamedTuple):
    """A task that runs: its id, its node, and the cell that its comment names."""

    job: str
    node: str
    cell: str


class Disturbances:
    """Disturbs a grid's jobs.

    Args:
        cluster: where they run.
        store: their store, a file system of its own.
        submit: the words of the verb that submits open cells, cancelled ones too.
        grid: the grid's file.
        seed: of all choices.
        stopped_for: seconds for which a process is stopped.
    """

    def __init__(
        self, cluster: Cluster, store: Path, submit: tuple[Any, ...], grid: Path, seed: int, stopped_for: float
    ) -> None:
        self.cluster, self.store, self.submit, self.grid = cluster, store, submit, grid
        self.random, self.stopped_for = random.Random(seed), stopped_for
        self.counts, self.hits = Counter[str](), Counter[str]()
        self.later: list[tuple[float, Callable[[], object]]] = []  # what is to be put right, and when
        self.kinds: list[Callable[[], object]] = [
            self.preempt, self.requeue, self.kill_process, self.scancel, self.cancel, self.kill_node,
            self.restart_controller, self.store_read_only, self.stop_and_continue, self.time_limit, self.kill_stepd,
            self.drain, self.two_submitters, self.restart_database, self.node_without_store, self.store_gone,
            self.down, self.edit_code, self.kill_submitter, self.store_full, self.lose_controllers_state,
            *(self._signal(name) for name in SIGNALS),
        ]  # fmt: skip
        self.random.shuffle(self.kinds)

    # -- whom it hits --------------------------------------------------------------------------------------------------

    def victim(self) -> Victim | None:
        """Return a task whose cell takes steps, of those that were hit least; None where none does within 20 seconds."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = self.cluster.slurm("squeue", "-h", "-r", "-t", "R", "-p", "main", "-o", "%i|%N|%k").splitlines()
            found = [Victim(*line.split("|")) for line in lines]
            aimed = [one for one in found if self._steps(one.cell)]
            if aimed:
                least = min(self.hits[one.cell] for one in aimed)
                one = self.random.choice([one for one in aimed if self.hits[one.cell] == least])
                self.hits[one.cell] += 1
                return one
            time.sleep(0.5)
        return None

    def _steps(self, cell: str) -> bool:
        """Tell whether a cell has taken a step in its present attempt."""
        try:
            state = Run(self.store / cell).read_state()
        except (OSError, ValueError):
            return False
        first = state.get("from_step")
        return state["state"] == "running" and first is not None and state.get("step", 0) > first

    def workers(self, victim: Victim | None) -> list[int]:
        """Return the Python processes of a task's cell."""
        if victim is None:
            return []
        array, _, index = victim.job.partition("_")
        wanted = {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index} if index else {"SLURM_JOB_ID": array}
        return [pid for pid in self.cluster.processes(wanted) if is_worker(pid)]

    # -- jobs and processes --------------------------------------------------------------------------------------------

    def preempt(self) -> None:
        """Let a job of the partition `high` take the node."""
        if one := self.victim():
            asked = ("-p", "high", "-w", one.node, "--exclusive", "-t", "1", "-o", "/dev/null")
            self.cluster.slurm("sbatch", *asked, "--wrap", "sleep 2")

    def requeue(self) -> None:
        """Requeue a task, without a warning to it."""
        if one := self.victim():
            self.cluster.slurm("scontrol", "requeue", one.job)

    def scancel(self) -> None:
        """Cancel a task behind the harness's back."""
        if one := self.victim():
            self.cluster.slurm("scancel", one.job)

    def _signal(self, name: str) -> Callable[[], None]:
        def send() -> None:
            if one := self.victim():
                self.cluster.slurm("scancel", f"--signal={name}", one.job)

        send.__name__ = f"signal_{name}"
        return send

    def cancel(self) -> None:
        """Cancel a cell as one should."""
        if (one := self.victim()) and "_s" in one.cell:
            seed = one.cell.rpartition("_s")[2].partition("-")[0]
            self.bench("cancel", self.grid, "--only", f"seed={seed}", "--store", self.store, "--yes")

    def time_limit(self) -> None:
        """Let a task's time limit be over at once, wherever its cell is, in an evaluation perhaps."""
        if one := self.victim():
            self.cluster.slurm("scontrol", "update", f"JobId={one.job}", "TimeLimit=1")

    def kill_process(self) -> None:
        """Kill the processes of a cell, as the kernel does when memory runs out."""
        self._kill(self.workers(self.victim()), signal.SIGKILL)

    def stop_and_continue(self) -> None:
        """Stop a cell's process for longer than a heartbeat takes."""
        pids = self.workers(self.victim())
        self._kill(pids, signal.SIGSTOP)
        self._later(self.stopped_for, lambda: self._kill(pids, signal.SIGCONT))

    def kill_stepd(self) -> None:
        """Kill the daemon of a cell's step, which leaves the cell's process without anybody who looks after it."""
        for pid in self.workers(self.victim()):
            self._kill(list(ancestors(pid, "slurmstepd"))[:1], signal.SIGKILL)

    @staticmethod
    def _kill(pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # -- nodes and daemons ---------------------------------------------------------------------------------------------

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.later.append((time.monotonic() + seconds, action))

    def kill_node(self) -> None:
        """Kill a node with all that runs on it; it comes back after Slurm has noticed."""
        if one := self.victim():
            self.cluster.kill_node(one.node)
            self._later(14, lambda: self._slurmd(one.node))

    def _slurmd(self, node: str, *before: str) -> None:
        self.cluster.kill(f"slurmd.{node}")
        time.sleep(0.3)
        subprocess.run([*before, "slurmd", "-N", node], env=self.cluster.environment, check=False)

    def _state(self, node: str, state: str) -> None:
        self.cluster.slurm("scontrol", "update", f"NodeName={node}", f"State={state}", "Reason=chaos")

    def drain(self) -> None:
        """Drain a node: what runs there may end, nothing new begins."""
        if one := self.victim():
            self._state(one.node, "DRAIN")
            self._later(8, lambda: self._state(one.node, "RESUME"))

    def down(self) -> None:
        """Take a node down with what runs on it."""
        if one := self.victim():
            self._state(one.node, "DOWN")
            self._later(6, lambda: self._state(one.node, "RESUME"))

    def node_without_store(self) -> None:
        """Let new jobs of a node see an empty folder in the store's place."""
        if one := self.victim():
            hide = f"mount -t tmpfs none '{self.store}' && exec slurmd -N {one.node}"
            self.cluster.kill(f"slurmd.{one.node}")
            subprocess.run(["unshare", "-m", "sh", "-c", hide], env=self.cluster.environment, check=False)
            self._later(12, lambda: self._slurmd(one.node))

    def restart_controller(self) -> None:
        """Kill slurmctld and start it again."""
        self._controller(lambda: time.sleep(2))

    def lose_controllers_state(self) -> None:
        """Kill slurmctld, and let it forget all jobs; their ids are given again."""
        self._controller(lambda: shell(f"rm -f '{self.cluster.folder}'/ctld/job_state*"))

    def _controller(self, meanwhile: Callable[[], object]) -> None:
        self.cluster.kill("slurmctld")
        wait_until(lambda: "DOWN" in self.cluster.slurm("scontrol", "ping"), 20, "the controller has gone")
        meanwhile()
        deadline = time.monotonic() + 60
        while "UP" not in self.cluster.slurm("scontrol", "ping") and time.monotonic() < deadline:
            subprocess.run(
                ["slurmctld"], env=self.cluster.environment, check=False
            )  # ends where its port is still taken
            time.sleep(2)

    def restart_database(self) -> None:
        """Kill slurmdbd and start it again."""
        self.cluster.kill("slurmdbd")
        time.sleep(1)
        socket = str(self.cluster.folder / "run" / "mysql.sock")
        subprocess.run(["slurmdbd"], env={**self.cluster.environment, "MYSQL_UNIX_PORT": socket}, check=False)

    # -- the store -----------------------------------------------------------------------------------------------------

    def store_read_only(self) -> None:
        """Make the store read-only for a while."""
        shell(f"mount --bind '{self.store}' '{self.store}' && mount -o remount,bind,ro '{self.store}'")
        time.sleep(6)
        shell(f"umount -l '{self.store}'")

    def store_gone(self) -> None:
        """Put an empty folder in the store's place for a while."""
        shell(f"mount -t tmpfs none '{self.store}'")
        time.sleep(5)
        shell(f"umount -l '{self.store}'")

    def store_full(self) -> None:
        """Leave no byte free in the store for a while."""
        ballast = self.store / ".ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass
        time.sleep(4)
        ballast.unlink()

    # -- people --------------------------------------------------------------------------------------------------------

    def bench(self, *words: Any) -> None:
        """Run a verb, whatever comes of it."""
        self.cluster.bench(*words, code=None)

    def _begin(self) -> subprocess.Popen[bytes]:
        return self.cluster.begin(*self.submit)

    def two_submitters(self) -> None:
        """Let two people submit at once."""
        for process in (self._begin(), self._begin()):
            process.wait(120)

    def kill_submitter(self) -> None:
        """Kill somebody who submits."""
        process = self._begin()
        time.sleep(self.random.uniform(1.0, 4.0))
        process.kill()
        process.wait()
        self.bench(*self.submit)

    def edit_code(self) -> None:
        """Edit the code, so that nothing comes out otherwise, and go on with it."""
        with (self.cluster.root / "methods" / "supervised.py").open("a", encoding="utf-8") as file:
            file.write("# edited\n")
        self.bench(*self.submit)

    # -- all of it -----------------------------------------------------------------------------------------------------

    def rage(self, seconds: float, cells: int = 0) -> None:
        """Disturb for a while, each kind in turn, and put right what is to be put right.

        On a busy machine a disturbance takes longer: then up to twice as long, until a number of cells were aimed at.
        """
        begin, number = time.monotonic(), 0
        while (past := time.monotonic() - begin) < seconds or (past < 2 * seconds and len(self.hits) < cells):
            kind = self.kinds[number % len(self.kinds)]
            kind()
            self.counts[kind.__name__] += 1
            number += 1
            self.put_right()
            time.sleep(self.random.uniform(0.3, 1.5))
        self.put_right(everything=True)

    def put_right(self, everything: bool = False) -> None:
        """Do what was left for later and whose time has come."""
        due = [one for one in self.later if everything or time.monotonic() >= one[0]]
        for one in due:
            self.later.remove(one)
            one[1]()


def shell(line: str) -> None:
    """Run a line of shell, whatever comes of it."""
    subprocess.run(line, shell=True, check=False, stderr=subprocess.DEVNULL)
