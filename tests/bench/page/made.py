"""Grids whose runs are written by hand, and their pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.page.content import Asked, Page, gather_page
from bench.page.pictures import Gallery
from bench.page.render import render
from bench.store.status import grid_status
from bench.store.summary import Summary
from tests.bench.report.conftest import CLASSES, Store

SCRIPT = "<script>window.hacked = 1</script>"
HOSTILE = (
    SCRIPT,
    '"><img src=x onerror="window.hacked = 1">',
    f"</textarea></title></style></pre></svg>{SCRIPT}",
    "<svg onload='window.hacked = 1'><a href='javascript:window.hacked = 1'>",
    "{{ 7 * 7 }}{% raw %}",
)


def summary(store: Store, **more: Any) -> Summary:
    """Return the summary of a store's planned cells."""
    return Summary(name="quick", title=more.pop("title", "A quick grid"), cells=store.cells, **more)


def page(store: Store, folder: Path, galleries: Sequence[Gallery] = (), **more: Any) -> Page:
    """Return the page of a store's planned cells."""
    grid = folder / "quick.yaml"
    grid.write_text(more.pop("source", "title: A quick grid\naxes: {seed: [0, 1]}\n"))
    found = summary(store, **more)
    return gather_page(Asked(store.path, str(grid)), found, grid_status(store.path, found), galleries)


def written(store: Store, folder: Path, galleries: Sequence[Gallery] = (), **more: Any) -> Path:
    """Write the page of a store's planned cells, and return the file."""
    path = folder / "quick-report.html"
    path.write_text(render(page(store, folder, galleries, **more), "2026-11-27 12:00"), encoding="utf-8")
    return path


def small(store: Store, methods: Sequence[str] = ("supervised", "reco"), seeds: int = 2) -> None:
    """Plan methods × two budgets × seeds; all are done but the last method's at the second budget."""
    for place, method in enumerate(methods):
        for labels in ("20", "100"):
            for seed in range(seeds):
                run = store.plan(method, labels, seed)
                if place < len(methods) - 1 or labels == "20":
                    score = 40.0 + 5 * place + seed
                    store.done(
                        run, score, score + 2, iou=[70.0 + place, 30.0 - 4 * place, None], labelled_images=int(labels)
                    )
                    store.evaluations(run, {100: score - 10, 200: score - 3, 400: score})
    store.state(store.path / store.cells[-1].id, "failed", step=120, reason="ValueError: no such crop")


def hostile(store: Store) -> None:
    """Plan cells and write runs whose every text is an attack."""
    for place, text in enumerate(HOSTILE):
        run = store.plan(text, text, place, network=text)
        store.done(run, 40.0 + place, classes=[text, *CLASSES[1:]], evaluation=text, iou=[1.0, 2.0, 3.0])
        lines = [{"step": step, "losses": {text: 1.0 / step}, "lr": 0.1} for step in (50, 100)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (run / "log.txt").write_text(f"</pre>{text}\n")
        attempt = {
            "attempt": 1,
            "device": "cpu",
            "cpu": text,
            "git_sha": text,
            "packages": {"torch": text},
            "python": text,
        }
        (run / "attempts.jsonl").write_text(json.dumps(attempt) + "\n")
        failed = store.plan(text, "failed", place)
        store.state(failed, "failed", step=3, reason=text, host=text)


def large(store: Store, methods: int = 5, budgets: int = 5, seeds: int = 4, evaluations: int = 60) -> None:
    """Plan a hundred runs, all of them done, with curves, logs and attempts of usual length."""
    for method in range(methods):
        for budget in range(budgets):
            for seed in range(seeds):
                run = store.plan(f"method_{method}", str(50 * 2**budget), seed)
                score = 30.0 + method + 4 * budget + 0.3 * seed
                iou = [(score + 7 * k) % 100 for k in range(21)]
                store.done(
                    run, score, iou=iou, classes=[f"class_{k}" for k in range(21)], labelled_images=50 * 2**budget
                )
                _recorded(run, score, evaluations)


def _recorded(run: Path, score: float, evaluations: int) -> None:
    lines: list[dict[str, Any]] = []
    for place in range(1, 5 * evaluations + 1):
        losses = {name: 1.0 / place + 0.001 * n for n, name in enumerate(("supervised", "unsupervised", "contrast"))}
        lines.append({"step": 40 * place, "lr": 0.01, "losses": losses, "logged": {"confident share": 1 - 1 / place}})
        if place % 5 == 0:
            lines.append({"step": 40 * place, "eval": {"miou": score * (1 - 1 / (place + 1)), "iou": []}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "log.txt").write_text(
        "".join(f"step {40 * k}: loss {1 / k:.6f}, 3.21 it/s, 8.1 GB, lr 0.01\n" for k in range(1, 200))
    )
    packages = dict.fromkeys(("torch", "torchvision", "numpy", "pillow", "simplejpeg", "scipy"), "1.2.3")
    attempt = {"attempt": 1, "device": "NVIDIA H100", "packages": packages, "python": "3.11.7", "git_sha": "ab" * 20}
    (run / "attempts.jsonl").write_text(json.dumps({**attempt, "time": "2026-11-27T10:00:00+0000"}) + "\n")
