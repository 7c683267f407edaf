"""Plans a grid for another process, which then reads the summary that is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep


def _main() -> None:
    grid, sets, data = json.loads(sys.argv[1])
    try:
        plan_and_keep(Request(grid, tuple(sets), tuple(data), Path(sys.argv[2])), absent=True)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    _main()
