"""Variables of a profile, which may be secrets: they reach the cell, and lie nowhere but in files of mode 600."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from bench.store.liveness import current_state
from bench.store.run import Run
from slurm import records, rounds
from slurm.profiles import Profile
from slurm.records import Array, Next, Submission
from tests.slurm.cluster import Cluster
from tests.slurm.fakes import fake_slurm
from tests.slurm.test_cluster import Grid, profile
from tests.slurm.test_task import submitted
from tests.typed import bench

SECRET = "s3cret-c9d1 'quoted' $HOME"
# A set-up line that fails, and so fails the cell, unless the variable is there as it was written.
ARRIVED = f'[ "$(printenv TOKEN | cksum)" = "$(cksum < {{folder}}/token)" ] && [ ${{{{#TOKEN}}}} -eq {len(SECRET)} ]'


def arrives(folder: Path) -> str:
    (folder / "token").write_text(f"{SECRET}\n")
    return ARRIVED.format(folder=folder)


def holders(folder: Path) -> dict[Path, int]:
    """Return the modes of the files in which the secret, or the part of it that no quoting changes, can be read."""
    needle = SECRET.split()[0].encode()
    found = [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]
    return {path: path.stat().st_mode & 0o777 for path in found}


def test_a_local_submission_keeps_them_to_its_owner(tmp_path: Path) -> None:
    run = Run(tmp_path / "store" / submitted(tmp_path).jobs[0].cell_id)
    run.ticket.unlink()
    asked = {"extends": "local", "environment": {"TOKEN": SECRET}, "setup": [arrives(tmp_path)]}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(asked))
    where = [str(tmp_path / "g.yaml"), "--store", str(tmp_path / "store")]
    shown = bench("submit", *where, "--profile", str(tmp_path / "p.yaml"), "--dry-run")
    assert "s3cret" not in shown and "environment.sh" in shown
    bench("submit", *where, "--profile", str(tmp_path / "p.yaml"), "--yes")
    bench("wait", *where)
    assert current_state(run)["state"] == "done"
    (array,) = records.submissions(tmp_path / "store")[0].arrays
    assert holders(tmp_path / "store") == {Path(array.variables): 0o600}
    assert array.resources().environment == {}


def test_the_job_of_the_next_round_has_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm(tmp_path / "bin", monkeypatch, sbatch="echo 12")
    following = Next(["--version"], [], None, str(tmp_path))
    made = Submission("s", "g", str(tmp_path), [Array("a", ["c"], {}, 1, "9")], "here", {}, {}, next=following)
    made.write(tmp_path)
    asked = Profile(environment={"TOKEN": SECRET}, setup=[arrives(tmp_path), "exit 7"])
    rounds.follow(tmp_path, made, asked)
    script = made.path(tmp_path) / "next.sh"
    assert set(holders(made.path(tmp_path)).values()) == {0o600} and script not in holders(tmp_path)
    done = subprocess.run(["bash", str(script)], check=False, env={**os.environ, "SLURM_JOB_ID": "12"})
    assert done.returncode == 7  # it came past the line that looks


@pytest.mark.slurm
def test_on_slurm_they_reach_cells_and_no_record(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(cluster, tmp_path, {"method": ["supervised"], "protocol": ["full"], "seed": [0]})
    grid("submit", "--profile", profile(tmp_path, environment={"TOKEN": SECRET}, setup=[arrives(tmp_path)]))
    job = grid.rows()[0]["job"].split("_")[0]
    assert "s3cret" not in cluster.slurm("scontrol", "show", "job", "-dd", job, check=True)
    assert "s3cret" not in cluster.slurm("scontrol", "write", "batch_script", job, "-", check=True)
    grid("wait")
    assert grid.states() == ["done"]
    assert set(holders(grid.store).values()) == {0o600}
