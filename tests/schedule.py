"""Which tests a worker of pytest-xdist takes together, and in which order they are given out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.scheduler import LoadScopeScheduling

# Those on a cluster share one, and mostly wait: begun first, by one worker, they take no longer than all the others.
# Then what takes minutes in one file, so that no worker is left with it at the end.
CLUSTER = "tests/slurm/"
FIRST = (
    CLUSTER,
    *(f"tests/gpu/test_{name}.py" for name in ("gpu_check", "predicted")),
    *(f"tests/bench/run/test_{name}.py" for name in ("local", "resume", "team", "recorder")),
    *("tests/bench/check/", "tests/bench/cli/", "tests/bench/run/", "tests/bench/train/test_group.py"),
)


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """A worker takes a file whole, so that what its tests share is made once, and all files on a cluster together."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return CLUSTER if path.startswith(CLUSTER) else path


def order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return tests in the order in which they are given out."""

    def place(item: pytest.Item) -> int:
        return next((at for at, prefix in enumerate(FIRST) if item.nodeid.startswith(prefix)), len(FIRST))

    return sorted(items, key=place)
