"""Slurm's commands as scripts on the path, for tests of what the harness does with their answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def fake_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """Put commands first on the path, each a shell script; those not given print nothing.

    Args:
        folder: for the scripts.
        monkeypatch: undoes it.
        answers: the script of each command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel", "srun"):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{answers.get(name, ':')}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
