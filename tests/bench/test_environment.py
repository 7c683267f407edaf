from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from bench.data import REPOSITORY

PAGES_OF = """
import resource
from bench.environment import keep_freed_memory

SIZE = 96 << 20
{call}
b"\\1" * SIZE  # freed at once; the second time it may come back as it is
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"\\1" * SIZE
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
    """Return how many pages of 96 MiB the kernel had to give a process that asks for them a second time."""
    code = PAGES_OF.format(call=call)
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library isn't glibc")
def test_freed_memory_is_not_given_back_to_the_kernel() -> None:
    assert 10 * faults("keep_freed_memory()") < faults("")
