"""Where else than on this machine a grid's cells can run: what a module named in the registry adds to the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import NotRequired, TypedDict

from bench import registry

if TYPE_CHECKING:
    from bench.store.status import GridStatus


class ListEntry(TypedDict):
    """An entry of ``list``: name, one line about it, options with their defaults, and from which values they are drawn."""

    name: str
    summary: str
    options: Mapping[str, object]
    space: NotRequired[Mapping[str, str]]


@dataclass(frozen=True)
class Backend:
    """What a backend adds to the command line.

    Attributes:
        verbs: functions that become commands, in the order of ``--help``.
        lists: what ``list`` can list of it.
        hours: what a grid's jobs had allocated so far, as `status --hours --json` shows it; None where nothing is known.
        view: adds to a grid's status what the backend knows of the grid's jobs; it reads only.
    """

    verbs: tuple[Callable[..., None], ...]
    lists: Mapping[str, Callable[[], list[ListEntry]]]
    view: Callable[[Path, GridStatus], None]
    hours: Callable[[Path, GridStatus], dict[str, Any] | None]


def backends() -> list[Backend]:
    """Return the backends, each its module's ``BACKEND``."""
    return [module.BACKEND for module in registry.backend_modules()]
