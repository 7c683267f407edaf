"""The notebook of the documentation runs, cell by cell, on a small grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from bench import api
from bench.plan.jobs import make_jobs
from bench.plan.summary import plan_and_keep
from bench.run.worker import run_cell
from bench.store.run import State
from tests.conftest import GRID

NOTEBOOK = Path(__file__).parents[1] / "docs/results.ipynb"


def test_all_cells_run(tmp_path: Path) -> None:
    grid = GRID.replace("[supervised]", "[supervised, mean_teacher]") + "resources: {threads: 1, device: cpu}\n"
    (tmp_path / "grid.yaml").write_text(grid)
    request = api.request(tmp_path / "grid.yaml", tmp_path / "store")
    plan, _ = plan_and_keep(request)
    jobs, _ = make_jobs(plan, plan.cells, request, retry=False)
    assert [run_cell(job) for job in jobs] == [State.DONE, State.DONE]
    matplotlib.use("Agg")

    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)  # as `nbstripout` leaves it
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        if number == 0:
            names.update(GRID=tmp_path / "grid.yaml", STORE=tmp_path / "store")
    assert list(names["done"]["method"]) == ["supervised", "mean_teacher"]
    assert isinstance(names["mean"], pd.DataFrame) and set(names["mean"].columns) == {"supervised", "mean_teacher"}
    scores = names["done"].set_index("method")["miou_last"]
    assert np.allclose(names["mean"].iloc[-1][scores.index], scores)
    assert names["model"].predict(names["image"]).shape == (96, 128)
