"""The checkpoint that is chosen on held-out images: by hand, across kills, and without an effect on training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.files import read_json, read_jsonl
from bench.plan.jobs import make_jobs
from bench.plan.request import Request
from bench.plan.summary import make_plan
from bench.run.hooks import Hooks
from bench.run.worker import run_cell
from bench.store.job import Job
from bench.store.run import Run, State
from bench.train import checkpoint
from bench.train.metrics import Score
from methods.base import Method
from tests.bench.run.killing import run_in_child
from tests.conftest import GRID

RULES = ("last", "best", "selected")
COMPARED = (
    *(f"weights-{which}.pt" for which in RULES),
    *(f"confusion-{which}.npz" for which in RULES),
    "metrics.jsonl",
    "result.json",
)


def make_job(
    folder: Path,
    protocol: Any = None,
    holdout: int = 2,
    method: str = "classmix",
    every: int = 2,
    evaluation: dict[str, Any] | None = None,
) -> Job:
    """Plan one cell, with images held out, in a store of its own."""
    content = yaml.safe_load(GRID)
    content["axes"] |= {"method": [method], "protocol": [protocol or {"few_labels": 6}]}
    content["recipe"]["evaluation"] = {"every": every, **(evaluation or {})}
    if holdout:
        content["recipe"]["evaluation"] |= {"select_on": "holdout", "holdout": holdout}
    content["resources"] = {"threads": 1, "checkpoint_every": 3, "log_every": 1, "device": "cpu"}
    folder.mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    request = Request(str(folder / "grid.yaml"), (), (), folder / "store")
    plan = make_plan(request)
    return make_jobs(plan, plan.cells, request, retry=False)[0][0]


def run_of(job: Job) -> Run:
    return Run(Path(job.store) / job.cell_id)


class Scripted:
    """Evaluations whose scores are given beforehand; the weights that they saw are noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, val: list[float], holdout: list[float]) -> None:
        self.weights: list[str] = []
        scores, held = iter(val), iter(holdout)

        def evaluate(_: Hooks, method: Method) -> Score:
            self.weights.append(checkpoint.digest(method.predictor.state_dict()))
            return Score(next(scores), 50.0, [50.0, 50.0, None])

        monkeypatch.setattr(Hooks, "evaluate", evaluate)
        monkeypatch.setattr(Hooks, "evaluate_holdout", lambda *_: Score(next(held), 50.0, [50.0, 50.0, None]))


@pytest.mark.parametrize(
    ("val", "holdout", "best", "selected"),
    [
        ([40, 55, 50, 45], [30, 20, 60, 10], 4, 6),  # chosen where val is not at its highest
        ([40, 55, 50, 45], [30, 60, 60, 60], 4, 4),  # the earliest of several
        ([60, 10, 20, 30], [10, 20, 30, 40], 2, 8),  # the last one
        ([10, 20, 30, 40], [0, 0, 0, 0], 8, 2),  # nothing is right on the holdout: still one is chosen
    ],
)
def test_the_choice_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, val: list[float], holdout: list[float], best: int, selected: int
) -> None:
    scripted, job = Scripted(monkeypatch, val, holdout), make_job(tmp_path / "a")
    assert run_cell(job) is State.DONE
    run = run_of(job)
    result = read_json(run.result)
    assert [result[rule]["step"] for rule in ("last", "best", "selected")] == [8, best, selected]
    assert result["selected"]["miou"] == val[selected // 2 - 1]
    assert result["selected"]["holdout_miou"] == holdout[selected // 2 - 1]
    for which, step in (("last", 8), ("best", best), ("selected", selected)):
        assert checkpoint.digest(checkpoint.load(run.weights(which))) == scripted.weights[step // 2 - 1]
    assert (result["labelled_images"], result["holdout_images"]) == (6, 2)
    rows = [row for row in read_jsonl(run.metrics) if "eval" in row]
    assert [(row["eval"]["miou"], row["holdout"]["miou"]) for row in rows] == list(zip(val, holdout, strict=True))


def test_killed_and_resumed_it_is_the_same_choice(tmp_path: Path) -> None:
    whole, killed, stopped = (make_job(tmp_path / name) for name in ("whole", "killed", "stopped"))
    assert run_cell(whole) is State.DONE
    expected = {name: (run_of(whole).path / name).read_bytes() for name in COMPARED}
    assert run_in_child(killed, "evaluation", 2) == -9  # after step 4; the checkpoint is of step 3
    assert run_cell(killed) is State.DONE
    assert {name: (run_of(killed).path / name).read_bytes() for name in COMPARED} == expected
    with pytest.MonkeyPatch.context() as patch:  # between the score on val and that on the holdout
        original, calls = Hooks.evaluate_holdout, 0

        def evaluate_holdout(self: Hooks, method: Method) -> Score:
            nonlocal calls
            calls += 1
            if calls == 2:
                os.kill(os.getpid(), signal.SIGUSR2)
            return original(self, method)

        patch.setattr(Hooks, "evaluate_holdout", evaluate_holdout)
        assert run_cell(stopped) is State.PREEMPTED
        assert run_of(stopped).read_state()["step"] == 4
        assert run_cell(stopped) is State.DONE
    assert {name: (run_of(stopped).path / name).read_bytes() for name in COMPARED} == expected


def test_training_is_that_on_lists_without_the_held_out_images(tmp_path: Path) -> None:
    """Neither the holdout nor its evaluation touches a draw: lists that leave the images out give the same bits."""
    held = make_job(tmp_path / "held", every=1)
    assert run_cell(held) is State.DONE
    manifest = read_json(next((Path(held.store) / ".splits").glob("*.json")))
    for name in ("labelled", "unlabelled"):
        assert not set(manifest["holdout"]) & set(manifest[name])
        (tmp_path / name).write_text("\n".join(manifest[name]))
    lists = {"files": {"labelled": str(tmp_path / "labelled"), "unlabelled": str(tmp_path / "unlabelled")}}
    plain = make_job(tmp_path / "plain", lists, holdout=0, every=8)
    assert run_cell(plain) is State.DONE
    assert read_json(run_of(plain).result)["weights_sha256"] == read_json(run_of(held).result)["weights_sha256"]
    losses = [[row for row in read_jsonl(run_of(job).metrics) if "losses" in row] for job in (held, plain)]
    assert losses[0] == losses[1]
    assert not run_of(plain).weights("selected").exists()
    assert set(read_json(run_of(plain).result)) & {"selected", "holdout_images"} == set()
    assert "holdout_miou" not in read_json(run_of(plain).result)["last"]


def test_under_partial_labels_the_holdout_is_scored_on_the_visible_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    original = Hooks.evaluate_holdout

    def evaluate_holdout(self: Hooks, method: Method) -> Score:
        masks = [self.reader.mask(image_id) for image_id in self.held_out]
        whole = [self.reader.dataset.mask(image_id) for image_id in self.held_out]
        seen.append((sum(int((m != 255).sum()) for m in masks), sum(int((m != 255).sum()) for m in whole)))
        return original(self, method)

    monkeypatch.setattr(Hooks, "evaluate_holdout", evaluate_holdout)
    job = make_job(tmp_path / "a", {"partial": "5%"}, method="supervised", every=8)
    assert run_cell(job) is State.DONE
    ((visible, whole),) = seen
    assert 0 < visible < 0.1 * whole
    result = read_json(run_of(job).result)
    assert (result["labelled_images"], result["unlabelled_images"]) == (24, 0)
    assert visible < result["labelled_pixels"] < 0.1 * 24 * 40 * 40
