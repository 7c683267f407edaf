from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from bench.files import REPOSITORY

ASK_TWICE = """
import resource
from bench.machine import keep_freed_memory

def ask():
    blocks = [b"\\1" * (12 << 20) for _ in range(8)]  # all at once, and freed at the end
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

{call}
print(-ask() + ask())
"""


def faults(call: str) -> int:
    """Return how many pages the kernel had to give a process that asks for 96 MiB for the second time."""
    code = ASK_TWICE.format(call=call)
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library isn't glibc")
def test_freed_memory_is_not_given_back_to_the_kernel() -> None:
    assert 10 * faults("keep_freed_memory()") < faults("")
