"""The test cluster, for tests and for the chaos script: one that is their own, beside any that the user has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "slurm" / "testcluster"
PLUGINS = os.pathsep.join(str(ROOT / "tests" / name) for name in ("toy.py", "bad_methods.py"))


class Cluster:
    """A running test cluster.

    Args:
        folder: its state.
        port: its first port.

    Attributes:
        root: the checkout whose verbs are run.
    """

    def __init__(self, folder: Path, port: int = 17817) -> None:
        self.folder, self.port, self.root = folder, port, ROOT
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "etc" / "slurm.conf"),
            "BENCH_PLUGINS": PLUGINS,
            "PORT": str(port),
        }

    def up(self) -> None:
        """Start it, or whatever of it doesn't run."""
        subprocess.run([SCRIPTS / "up", self.folder], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def down(self) -> None:
        """Stop it and remove its state."""
        subprocess.run([SCRIPTS / "down", self.folder, "--wipe"], env=self.environment, check=False)

    def slurm(self, *command: str, check: bool = False) -> str:
        """Run one of Slurm's commands and return what it printed; nothing where it doesn't end, unless `check` is set."""
        try:
            done = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, check=check, timeout=60
            )
        except subprocess.TimeoutExpired:
            if check:
                raise
            return ""
        return done.stdout

    def bench(self, *arguments: Any, code: int | None = 0, **more: str) -> str:
        """Run ``python bench.py …`` in a shell of its own and return what it printed.

        Raises:
            AssertionError: if it ends with another exit code than `code` (None: any).
        """
        done = subprocess.run(
            self._command(arguments),
            env={**self.environment, **more},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def begin(self, *arguments: Any) -> subprocess.Popen[bytes]:
        """Start ``python bench.py …`` and return its process; what it prints is lost."""
        nothing = subprocess.DEVNULL
        return subprocess.Popen(self._command(arguments), env=self.environment, cwd="/", stdout=nothing, stderr=nothing)

    def _command(self, arguments: Sequence[Any]) -> list[str]:
        return [sys.executable, str(self.root / "bench.py"), *map(str, arguments)]

    def pid(self, daemon: str) -> int:
        """Return a daemon's process id, e.g. of ``slurmd.n2``."""
        return int((self.folder / "run" / f"{daemon}.pid").read_text())

    def kill(self, daemon: str) -> None:
        """Kill a daemon at once."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(self.pid(daemon), signal.SIGKILL)

    def kill_node(self, node: str) -> None:
        """Kill a node's slurmd and all that runs on it, as a power cut would."""
        self.kill(f"slurmd.{node}")
        for pid in self.processes({"SLURMD_NODENAME": node}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, wanted: dict[str, str]) -> Iterator[int]:
        """Yield the processes of this cluster's jobs whose environment has these values."""
        wanted = {**wanted, "SLURM_CONF": self.environment["SLURM_CONF"]}
        lines = {f"{key}={value}".encode() for key, value in wanted.items()}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if lines <= set((entry / "environ").read_bytes().split(b"\0")):
                    yield int(entry.name)


def wait_until(condition: Any, seconds: float, what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: if it doesn't in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.5)


def is_worker(pid: int) -> bool:
    """Tell whether a process is a cell's Python, not the srun or the shell above it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"python" in words[0] and b"submitit.core._submit" in words


def ancestors(pid: int, name: str) -> Iterator[int]:
    """Yield the ancestors of a process that have a name, the nearest first."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                yield pid
