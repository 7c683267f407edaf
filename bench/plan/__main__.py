"""Plans a grid for another process, which reads the summary that is kept, or printed where the store can't be written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.plan.request import Request
from bench.plan.summary import plan_and_keep, read_kept


def _main() -> None:
    grid, sets, data = json.loads(sys.argv[1])
    request = Request(grid, tuple(sets), tuple(data), Path(sys.argv[2]))
    try:
        summary = plan_and_keep(request, absent=True)[1]
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    if read_kept(request) != summary:
        sys.stdout.write(summary.model_dump_json(exclude_unset=True))


if __name__ == "__main__":
    _main()
