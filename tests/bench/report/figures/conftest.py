"""Figures that are kept instead of written."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.report.figures import style


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were made, which are not written."""
    figures: list[Figure] = []

    def keep(figure: Figure, *_: object) -> list[Path]:
        figure.canvas.draw()
        figures.append(figure)
        return []

    monkeypatch.setattr(style, "save", keep)
    return figures
