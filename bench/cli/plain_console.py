"""A rich console that takes nothing it is given for markup, nor for a command to the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bench.text import without_commands


class PlainConsole(Console):
    """Prints text as it stands; colours and bold come from styles alone."""

    def __init__(self, file: IO[str], width: int | None) -> None:
        super().__init__(file=file, width=width, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of something to print; what a console itself tells the terminal is left as it is."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_commands(segment.text), segment.style)
