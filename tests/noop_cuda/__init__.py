"""A CUDA runtime that does nothing, so that every line that runs on a GPU can be run and counted without one.

Two libraries of C stand in for the driver and for the entry points of cudart and cuBLAS: device memory is reserved address
space, kernels do nothing, copies between host and device are real. What runs for real is torch's CUDA dispatch, autograd,
caching allocator, determinism alerts and sync debug mode. Numbers on the device are meaningless, and time isn't measured.

cuDNN is not among them: ``tests.noop_cuda.convolutions`` gives convolutions results of the right shape. Its workspaces and
the CUDA context are therefore not in the memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bench.files import REPOSITORY

SOURCES = Path(__file__).parent / "csrc"
CONVOLUTIONS = Path(__file__).parent / "convolutions.py"
REQUIRED = "BENCH_REQUIRE_NOOP_CUDA"  # "1" makes a test fail that can't have the runtime; else it is skipped


def _headers() -> Path | None:
    """Return the folder of the runtime's headers, which come with torch's CUDA wheels."""
    for packages in site.getsitepackages():
        for found in Path(packages, "nvidia").rglob("driver_types.h"):
            return found.parent
    return None


def missing() -> str | None:
    """Return why the runtime can't be built here; None if it can."""
    if sys.platform != "linux":
        return "it is for Linux"
    if shutil.which("gcc") is None:
        return "there is no gcc"
    return None if _headers() else "torch is not built for CUDA"


def build() -> Path:
    """Return the folder of the libraries, built once per state of the sources."""
    headers = _headers()
    assert headers is not None
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join([str(headers).encode(), *(p.read_bytes() for p in sources)])).hexdigest()[:16]
    target = REPOSITORY / "build" / "noop-cuda" / digest
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent))
    runtime = [str(p) for p in sources if p.suffix == ".c" and p.name != "driver.c"]
    include = ["-I", str(SOURCES), "-I", str(headers)]
    gcc = ["gcc", "-shared", "-fPIC", "-O2", "-w"]
    subprocess.run([*gcc, *include, "-o", str(made / "libshim.so"), *runtime], check=True)
    subprocess.run([*gcc, "-o", str(made / "libcuda.so.1"), str(SOURCES / "driver.c")], check=True)
    try:
        made.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(made)
    return target


def environment(limit_bytes: int | None = None) -> dict[str, str]:
    """Return an environment whose processes find the runtime.

    Args:
        limit_bytes: memory of the device; by default 80 GB.
    """
    folder = build()
    found = {**os.environ, "LD_PRELOAD": str(folder / "libshim.so"), "LD_LIBRARY_PATH": str(folder)}
    found |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONPATH": str(REPOSITORY), "CUDA_MODULE_LOADING": "LAZY"}
    plugins = [p for p in (os.environ.get("BENCH_PLUGINS"), str(CONVOLUTIONS)) if p]
    found["BENCH_PLUGINS"] = os.pathsep.join(plugins)
    found.pop("CUDA_VISIBLE_DEVICES", None)
    return found if limit_bytes is None else {**found, "SHIM_LIMIT": str(limit_bytes)}


def need() -> None:
    """Skip the calling test where the runtime can't be built; fail where ``BENCH_REQUIRE_NOOP_CUDA=1``."""
    if (why := missing()) is not None:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"no no-op CUDA runtime: {why}")
        pytest.skip(f"no no-op CUDA runtime: {why}")


def call(module: str, *arguments: str, limit_bytes: int | None = None, timeout: float = 600) -> Any:
    """Run ``python -m module arguments`` on the runtime and return what it printed last, a line of JSON.

    Raises:
        AssertionError: if it failed, with what it printed.
    """
    need()
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, env=environment(limit_bytes), capture_output=True, text=True, cwd=REPOSITORY, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return json.loads(done.stdout.splitlines()[-1])
