"""Checks, each a function that raises where something is wrong, and what came of them."""

from __future__ import annotations

import pickle
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.errors import BenchError
from bench.files import REPOSITORY

Verdict = Literal["ok", "failed", "note", "not tried"]


class Broken(Exception):  # noqa: N818 (an outcome)
    """A contract isn't kept; the message says in what."""


def demand(holds: bool, otherwise: str) -> None:
    """Raise :class:`Broken` with a message where something doesn't hold."""
    if not holds:
        raise Broken(otherwise)


@dataclass(frozen=True)
class Check:
    """One thing that is looked at.

    Attributes:
        name: what should be, in a few words.
        run: returns what was found, in a few words or none; raises anything where it isn't so.
        mend: what to do then.
        required: False where a break of it is allowed, and only told.
        first: whether nothing else can be tried where it fails.
    """

    name: str
    run: Callable[[], str]
    mend: str
    required: bool = True
    first: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a check; `mend` is empty where nothing is to be done."""

    name: str
    verdict: Verdict
    detail: str = ""
    mend: str = ""

    @property
    def line(self) -> str:
        """The outcome without its verdict, in one line."""
        return ": ".join(filter(None, (self.name, "; ".join(filter(None, (self.detail, self.mend))))))

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON types."""
        return asdict(self)


def outcomes(checks: Sequence[Check]) -> Iterator[Outcome]:
    """Run checks one after the other and yield what came of each; nothing that they raise gets out."""
    impossible = ""
    for check in checks:
        if impossible:
            yield Outcome(check.name, "not tried", impossible)
            continue
        try:
            yield Outcome(check.name, "ok", check.run())
        except Exception as error:  # foreign code raises what it likes
            yield Outcome(check.name, "failed" if check.required else "note", _told(error), check.mend)
            impossible = f"needs '{check.name}'" if check.first else ""


def _told(error: Exception) -> str:
    """Return an error in one line, with the last place in code that is neither this harness's nor a library's."""
    if isinstance(error, (Broken, BenchError)):
        return " ".join(str(error).split())
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "-packages" not in f.filename]
    own = [f for f in frames if not Path(f.filename).is_relative_to(REPOSITORY / "bench")] or frames
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


@contextmanager
def no_global_draws() -> Iterator[None]:
    """Raise :class:`Broken` where Python's or NumPy's global generator was drawn from meanwhile."""
    before = random.getstate(), pickle.dumps(np.random.get_state())
    yield
    demand(random.getstate() == before[0], "Python's global generator (random) was drawn from")
    demand(pickle.dumps(np.random.get_state()) == before[1], "NumPy's global generator (np.random) was drawn from")
