"""What ``run`` draws: every line within the terminal's width, with its figures, from 60 columns up."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from bench.cli.live import CellLine, GridLine, drawn

LINES = [
    CellLine(
        "classmix · threshold 0.7 · 20 labels · seed 1",
        12_000,
        40_000,
        12.34,
        1.2345,
        45.21,
        "",
        "classmix · 0.7 · 20 · 1",
    ),
    CellLine(
        "supervised · threshold 0.7 · 20 labels · seed 1",
        0,
        40_000,
        note="by pid 12",
        brief="supervised · 0.7 · 20 · 1",
    ),
]
GRID = GridLine(Counter(done=3, failed=1), 12, 132_000, 480_000, 3900.0)


def screen(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(drawn(GRID, LINES, width))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_line_per_cell_and_one_for_the_grid(width: int) -> None:
    shown = screen(width)
    assert len(shown) == (5 if width == 60 else 4) and max(map(len, shown)) <= width
    assert shown[0].startswith("3/12 cells done, 1 failed · 27 % · 65 min")
    assert shown[1].split() == ["step", "it/s", "loss", "mIoU", "left"]
    name = LINES[0].name if width >= 140 else LINES[0].brief
    assert shown[2].startswith(name) and shown[2].rstrip().endswith("12.3 1.234 45.2 38 min")
    assert ("12,000/40,000" if width >= 100 else "30 %") in shown[2]
    assert "–" in shown[3]  # nothing is known of it yet
    assert shown[3].startswith("[by pid 12] supervised")


def test_the_grid_s_time_is_that_of_all_running_cells_together() -> None:
    pair = [CellLine("a", 0, 1000, 2.0), CellLine("b", 0, 1000, 3.0)]
    said = GridLine(Counter(), 2, 0, 2000, 0.0).said(pair)
    assert said.endswith("left: 7 min")  # 2000 / 5 s


def test_a_line_in_a_pipe() -> None:
    said = LINES[0].said()
    assert said == (
        "classmix · threshold 0.7 · 20 labels · seed 1: step 12000/40000, 12.34 it/s, loss 1.234, mIoU 45.2, left: 38 min"
    )
