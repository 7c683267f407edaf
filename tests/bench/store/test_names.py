"""Short names of cells: what varies and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from bench.store.losses import last_losses
from bench.store.names import Names
from bench.store.run import Run
from bench.store.summary import Coords


def place(**changes: str | int) -> Coords:
    base: Coords = {"dataset": "voc", "network": "tiny", "method": "classmix", "protocol": "few_labels"}
    return {**base, "labels": "20", "seed": 0, **changes}


def test_only_what_varies() -> None:
    cells = [place(seed=s, method=m, **{"method.threshold": t}) for s in (0, 1) for m in "ab" for t in ("0.7", "0.9")]
    names = Names([*cells, place(labels="60", **{"method.threshold": "0.7"})])
    assert names.headings == ["method", "threshold", "labels", "seed"]
    assert names.name(cells[-1]) == "b · threshold 0.9 · 20 labels · seed 1"
    assert Names([place(seed=0), place(seed=1)]).name(place(seed=1)) == "seed 1"
    assert Names([place()]).name(place()) == "classmix"


def test_protocols_are_named_where_there_are_several() -> None:
    full = place(protocol="full", labels="full")
    names = Names([place(), full])
    assert [names.name(place()), names.name(full)] == ["20 labels", "full"]
    names = Names([place(), full, place(protocol="partial", labels="1%")])
    assert [names.name(place()), names.name(full)] == ["few_labels 20", "full"]


def test_axes_whose_last_words_are_the_same_are_named_whole() -> None:
    cells = [place(**{"method.size": a, "dataset.size": b}) for a in "12" for b in "34"]
    assert Names(cells).name(cells[0]) == "method.size 1 · dataset.size 3"
    assert len({Names(cells).name(cell) for cell in cells}) == 4


def test_the_last_losses_are_found_behind_an_evaluation_and_half_a_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert last_losses(run) == {}
    rows = [{"step": 1, "losses": {"ce": 2.0}}, {"step": 2, "losses": {"ce": 1.5, "mse": 0.5}}]
    evaluation = {"step": 2, "eval": {"iou": [1.0] * 500}}
    text = "".join(json.dumps(row) + "\n" for row in [*rows, evaluation])
    run.metrics.write_text("x" * 100_000 + "\n" + text + '{"step": 3, "losses": {"ce"')
    assert last_losses(run) == {"ce": 1.5, "mse": 0.5}
