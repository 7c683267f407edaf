"""The line of the resume tests: pytest's own, on the device `cuda`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from xml.etree import ElementTree

from bench.files import REPOSITORY
from tests.gpu.context import Context
from tests.gpu.report import MEANINGLESS, at_least, exactly

FILE = "tests/bench/run/test_resume.py"
ON_NOOP = "mean_teacher or damaged"  # there some are enough: a method with a teacher, and a damaged checkpoint


def resume(context: Context) -> None:
    """Every resume test that takes the device passes on the GPU; a skipped one is a failure."""
    xml = context.folder / "resume.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={xml}", FILE, "-k"]
    command += [f"cuda and ({ON_NOOP})" if context.noop else "cuda"]
    if importlib.util.find_spec("xdist") and not context.noop:
        command += ["-n", str(context.sizes.workers)]
    done = subprocess.run(command, cwd=REPOSITORY, check=False)
    if not xml.exists():
        raise RuntimeError(f"pytest ended with {done.returncode}")
    cases = list(ElementTree.parse(xml).iter("testcase"))
    for case in cases:
        problem = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        said = "passed" if problem is None else f"{problem.tag}: {' '.join(str(problem.get('message')).split())[:200]}"
        context.report.note(str(case.get("name")), said, "", exactly("passed"))
    if context.noop:
        context.report.skip("whether bits agree", MEANINGLESS)
    context.report.note("tests", len(cases), "", at_least(1))
