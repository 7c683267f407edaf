"""The cluster that the tests of this room share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster

NEEDED = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster; without Slurm the test is skipped, or fails where ``BENCH_REQUIRE_SLURM=1``."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        why = f"needs {', '.join(missing) or 'root'}: as root on Debian, slurm/testcluster/install"
        if os.environ.get("BENCH_REQUIRE_SLURM") == "1":
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="bench-slurm-", dir="/tmp"))
    folder.chmod(0o755)
    found = Cluster(folder / "cluster")
    found.up()
    yield found
    found.down()
    shutil.rmtree(folder, ignore_errors=True)
