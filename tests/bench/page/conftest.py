"""A store, and the browser that pages are looked at with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bench.report.conftest import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NEEDED = "chromium"
# Nothing is looked up elsewhere, and the sandbox needs rights that root in a container lacks.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "runs")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window; without it the test is skipped, or fails where ``BENCH_REQUIRE_BROWSER=1``."""
    program = shutil.which(NEEDED)
    if program is None:
        why = f"needs {NEEDED}: as root on Debian, .ci/install-browser"
        if os.environ.get("BENCH_REQUIRE_BROWSER") == "1":
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield found
        found.close()
