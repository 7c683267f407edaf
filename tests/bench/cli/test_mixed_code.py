"""A run that goes on with other code than began it has the same id, and says so wherever its result is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from slurm import snapshot
from tests.conftest import GRID, TOY


def test_code_that_was_edited_within_a_run_is_named(tmp_path: Path) -> None:
    code, where = snapshot.take(tmp_path / "code"), ["--store", str(tmp_path / "store")]
    content = yaml.safe_load(GRID)
    content["axes"]["method"] = [{"bad": {"how": "stop"}}]
    grid = tmp_path / "g.yaml"
    grid.write_text(yaml.safe_dump({**content, "resources": {"threads": 1, "checkpoint_every": 2, "device": "cpu"}}))
    variables = {**os.environ, "BENCH_PLUGINS": f"{TOY}:{TOY.with_name('bad_methods.py')}"}

    def bench(*words: str) -> str:
        command = [sys.executable, str(code / "bench.py"), *words, *where]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=variables, cwd="/", check=False)
        assert not done.stderr or words[0] == "run", done.stderr
        return done.stdout

    bench("run", str(grid))
    (row,) = json.loads(bench("status", str(grid), "--json"))["cells"]
    assert (row["state"], row["step"], len(row["codes"])) == ("preempted", 5, 1)
    assert "mixed code" not in bench("status", str(grid))
    optim = code / "bench" / "train" / "optim.py"
    optim.write_text(optim.read_text("utf-8") + "\nTHREE_TIMES = 3\n", encoding="utf-8")
    bench("run", str(grid))
    (again,) = json.loads(bench("status", str(grid), "--json"))["cells"]
    assert (again["id"], again["state"]) == (row["id"], "done")
    assert again["codes"][0] == row["codes"][0] and len(again["codes"]) == 2
    words = f"mixed code: {again['codes'][0][:8]} → {again['codes'][1][:8]}"
    assert words in " ".join(bench("status", str(grid), "--all").split())
    assert "mixed code" in bench("table", str(grid))
    assert "1 run went on with other code than began it (mixed code)" in " ".join(bench("describe", str(grid)).split())
    bench("bundle", str(grid), "-o", str(tmp_path / "b.zip"))
    where[1] = str(tmp_path / "theirs")
    bench("merge", str(tmp_path / "b.zip"))
    assert "mixed code" in bench("table", str(grid))
