"""Commands as a user types them, each in a process of its own, forked from one that has imported what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from bench.files import REPOSITORY
from bench.processes import start
from bench.run.child import PRELOAD

_PRELOAD = (
    *PRELOAD,
    *(
        "pandas",
        "matplotlib.pyplot",
        "rich.live",
        "rich.table",
        "bench.cli.app",
        "bench.plan.jobs",
        "bench.plan.summary",
    ),
    *("bench.report.tables", "bench.report.formats.terminal", "bench.store.status", __name__),
)
Done = subprocess.CompletedProcess[str]


def _type(words: list[str], out: Path, err: Path, folder: str, umask: int) -> None:
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        assert isinstance(stream, TextIOWrapper)
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
        stream.reconfigure(encoding="utf-8")
    os.chdir(folder)
    os.umask(umask)
    sys.argv = [str(REPOSITORY / "bench.py"), *words]
    import torch

    from bench import processes
    from bench.cli import main

    # A process of such a server starts one of its own, with imports of seconds. Nothing that a fork loses runs in this one.
    torch.set_num_threads(1)
    vars(processes)["_METHODS"] = ("fork",)

    main()


def typed(
    *words: str, cwd: str | Path | None = None, variables: Mapping[str, str] | None = None, umask: int = 0o022
) -> Done:
    """Return how ``python bench.py WORDS`` ended.

    For what a fresh interpreter reads once (its encoding, safe path mode, the libraries' threads) start one.

    Args:
        words: verb and arguments.
        cwd: its working directory.
        variables: of its environment, besides this process's.
        umask: of the files that it makes.
    """
    with TemporaryDirectory(prefix="typed-") as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        with patch.dict(os.environ, variables or {}):
            process = start(_type, (list(words), out, err, str(cwd or Path.cwd()), umask), _PRELOAD)
        process.join()
        assert process.exitcode is not None
        return Done(words, process.exitcode, out.read_text("utf-8"), err.read_text("utf-8"))


def bench(*words: str, code: int = 0, stdout: bool = False) -> str:
    """Return what a command prints that ends with `code`; of one that fails its errors, unless `stdout` is asked for."""
    done = typed(*words)
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    assert "leaked" not in done.stderr  # what libraries say where the interpreter ends without tidying up
    return done.stdout if code == 0 or stdout else done.stderr
