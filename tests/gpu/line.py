"""Runs one line of the GPU check in this process: ``python -m tests.gpu.line NAME FOLDER REPORT``."""

from __future__ import annotations

import pkgutil
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.gpu.context import FULL, SMALL, Context
from tests.gpu.lines import LINES
from tests.gpu.report import Report
from tests.noop_cuda import counters


def facts() -> dict[str, Any]:
    """Return what the check runs on.

    Raises:
        RuntimeError: if torch finds no GPU.
    """
    import torch

    from bench.run import provenance
    from bench.train.setup import torch_environment

    device = torch.device("cuda")
    properties = torch.cuda.get_device_properties(device)
    return {
        **provenance.describe(),
        **torch_environment(device),
        "capability": list(torch.cuda.get_device_capability(device)),
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
    }


def main() -> None:
    """Run the line; the report says how it went, and the exit code is 1 where it broke off."""
    name, folder, path = sys.argv[1:]
    noop = counters.loaded()
    report = Report(Path(path), noop)
    context = Context(Path(folder), report, SMALL if noop else FULL, noop)
    line = next(line for line in LINES if line.name == name)
    try:
        report.facts(facts())
        pkgutil.resolve_name(line.function)(context)
    except Exception as error:
        traceback.print_exc()
        report.end(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
        sys.exit(1)
    report.end()


if __name__ == "__main__":
    main()
