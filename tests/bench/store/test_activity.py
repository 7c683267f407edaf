"""Whether a process works on a grid: several may, and one that was killed does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.files import REPOSITORY, read_json
from bench.store.activity import active, grid_activity

HOLD = """
import sys
from pathlib import Path
from bench.store.activity import grid_activity
with grid_activity(Path(sys.argv[1]), "g"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(store: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works on the grid `g` until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(store)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process


def test_a_grid_is_active_while_any_process_runs_it(tmp_path: Path) -> None:
    assert not active(tmp_path, "g")
    with grid_activity(tmp_path, "g"):
        with other_process(tmp_path) as other:
            paths = list((tmp_path / ".runs" / "g").iterdir())
            assert {read_json(path)["pid"] for path in paths} == {os.getpid(), other.pid}
            assert active(tmp_path, "g") and not active(tmp_path, "other")
        assert active(tmp_path, "g")
    assert not active(tmp_path, "g")
    assert not list((tmp_path / ".runs" / "g").iterdir())


def test_a_killed_process_leaves_nothing_active(tmp_path: Path) -> None:
    with other_process(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
    assert len(list((tmp_path / ".runs" / "g").iterdir())) == 1
    assert not active(tmp_path, "g")
    with grid_activity(tmp_path, "g"):
        assert len(list((tmp_path / ".runs" / "g").iterdir())) == 1  # only its own
