"""The ``tune:`` section of a grid: what is searched, how often, and on which images a setting is chosen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from bench.bounds import LARGEST_SEED, Seed
from bench.config import Config
from bench.errors import BenchError, nearest
from bench.seeds import rng
from bench.spec.cell import PARTS, SECTIONS
from bench.spec.messages import validate
from bench.yaml import Raw, RawView

Settings: TypeAlias = dict[str, Any]  # value by dotted key of a cell
_DIGITS = 3  # significant digits of a drawn real number, so that a setting can be read, typed and published
_SHARE = Annotated[float, Field(gt=0, lt=1)]


class Range(Config):
    """From which values a hyperparameter is drawn: one of four.

    Attributes:
        log_uniform: [lowest, highest], both above 0; the logarithm is uniform.
        uniform: [lowest, highest].
        integer: [lowest, highest], both included.
        choice: a list of values, equally likely.
    """

    log_uniform: tuple[float, float] | None = None
    uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = None
    choice: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        given = {k: v for k in ("log_uniform", "uniform", "integer", "choice") if (v := getattr(self, k)) is not None}
        if len(given) != 1:
            raise ValueError("give one of log_uniform, uniform, integer, choice")
        ((kind, values),) = given.items()
        if kind == "choice":
            if not values:
                raise ValueError("choice: at least one value")
        elif values[0] >= values[1]:
            raise ValueError(f"{kind} is [lowest, highest], got [{values[0]:g}, {values[1]:g}]")
        if kind == "log_uniform" and values[0] <= 0:
            raise ValueError("log_uniform needs values above 0")
        return self

    def at(self, share: float) -> Any:
        """Return the value at a share of the range, 0 ≤ share < 1; real numbers rounded to three significant digits."""
        if self.choice is not None:
            return self.choice[int(share * len(self.choice))]
        if self.integer is not None:
            low, high = self.integer
            return low + int(share * (high - low + 1))
        if self.log_uniform is not None:
            low_, high_ = map(math.log, self.log_uniform)
            return float(f"{math.exp(low_ + share * (high_ - low_)):.{_DIGITS}g}")
        assert self.uniform is not None
        return float(f"{self.uniform[0] + share * (self.uniform[1] - self.uniform[0]):.{_DIGITS}g}")

    def __str__(self) -> str:
        if self.choice is not None:
            return f"one of {', '.join(map(str, self.choice))}"
        if self.integer is not None:
            return f"{self.integer[0]} to {self.integer[1]}"
        low, high = self.log_uniform or self.uniform or (0.0, 0.0)
        return f"{low:g} to {high:g}" + (", logarithmic" if self.log_uniform is not None else "")


def _honest(value: Any) -> Any:
    if value == "val":
        raise ValueError(
            "choosing on the images that are then reported flatters whoever tries most; use holdout. To reproduce papers "
            "that did it, write val-as-in-the-papers: every table says so then"
        )
    return value


class Select(Config):
    """On which images a setting is chosen.

    Attributes:
        on: ``holdout``, images held out of each trial's label budget; ``val-as-in-the-papers`` are the evaluated images
            themselves, which every table marks.
        images: how many labelled images are held out; they count in the label budget.
        metric: mIoU in percent.
    """

    on: Annotated[Literal["holdout", "val-as-in-the-papers"], BeforeValidator(_honest)] = "holdout"
    images: PositiveInt | None = None
    metric: Literal["miou"] = "miou"

    @model_validator(mode="after")
    def _images_fit(self) -> Select:
        if (self.on == "holdout") != (self.images is not None):
            raise ValueError("holdout needs images, how many labelled images are held out; val takes none")
        return self


class Halving(Config):
    """Successive halving (Jamieson and Talwalkar, AISTATS 2016): trials that fall behind are stopped.

    Attributes:
        rungs: shares of a trial's iterations at which trials are compared, rising, the last one 1; each is brought up to
            the next evaluation.
        keep: share of the trials that go on after a rung, rounded up.
    """

    rungs: tuple[float, ...] = (0.25, 1.0)
    keep: _SHARE = 0.25

    @model_validator(mode="after")
    def _rising(self) -> Halving:
        pairs = itertools.pairwise((0.0, *self.rungs))
        if len(self.rungs) < 2 or self.rungs[-1] != 1.0 or any(a >= b for a, b in pairs):
            raise ValueError("rungs rise from above 0 to 1, at least two of them: [0.25, 1.0]")
        return self


class Tune(Config):
    """The section ``tune``.

    Attributes:
        trials: per method and protocol, and any other axis but seeds; trial 0 is the recipe as written.
        space: from which values each key of a cell is drawn; null takes a range away that a method declares. A method's
            own ranges (``list methods --space``) count where the grid doesn't say otherwise; ``method.KEY`` is passed over
            for methods without this option.
        select: on which images a setting is chosen.
        seeds: of the trials, split, initialisation and data; none of them may be among the reported ones.
        halving: stops trials that fall behind; null runs all to their end.
        seed: of the draws.
    """

    largest_number: ClassVar[float] = LARGEST_SEED

    trials: Annotated[PositiveInt, Field(le=10_000)]
    space: dict[str, Range | None] = Field(default={})
    select: Select
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (100,)
    halving: Halving | None = None
    seed: Seed = 0


def space_of(tune: Tune, method: Any, where: str) -> dict[str, Range]:
    """Return what is searched for a method: its own ranges, narrowed or replaced by the grid's, by key.

    Args:
        tune: the grid's section.
        method: the registered class.
        where: the grid, for messages.

    Raises:
        BenchError: if a range that the method declares makes no sense.
    """
    own = {f"method.{key}": value for key, value in method.Config.ranges.items()}
    found = {
        key: validate(Range, value, f"{where}: the space of {method.__name__}.{key}") for key, value in own.items()
    }
    for key, given in tune.space.items():
        part, _, option = key.partition(".")
        if given is None:
            found.pop(key, None)
        elif part != "method" or option.split(".")[0] in method.Config.model_fields:
            found[key] = given
    return dict(sorted(found.items()))


def check_space(tune: Tune, methods: Mapping[str, Any], axes: RawView, where: str) -> None:
    """Refuse ranges that no method has, and keys that an axis sets.

    Raises:
        BenchError: with the key.
    """
    options = sorted({f"method.{key}" for cls in methods.values() for key in cls.Config.model_fields})
    for key in tune.space:
        part, _, option = key.partition(".")
        allowed = [name for name in (*PARTS, *SECTIONS) if name != "seeds"]
        if part in ("seed", "seeds") or key in allowed:
            raise BenchError(f"{where}: tune.space.{key}: can't be searched; search options, such as optimizer.lr")
        if part not in allowed:
            raise BenchError(f"{where}: tune.space.{key}: unknown key '{part}'{nearest(part, allowed)}")
        if part == "method" and f"method.{option.split('.')[0]}" not in options:
            raise BenchError(f"{where}: tune.space.{key}: no method of the grid has it{nearest(key, options)}")
        if key in axes:
            raise BenchError(f"{where}: tune.space.{key}: is an axis of the grid too; take it out of one of them")


def settings(tune: Tune, space: Mapping[str, Range], method: str, trial: int) -> Settings:
    """Return a trial's settings: nothing for trial 0, else a point of a randomly shifted Sobol sequence.

    A pure function of (tune.seed, method, trial) and of the space: more trials extend the sequence and change none. Sobol
    points fill the space more evenly than independent draws, at any length of the sequence (Bergstra and Bengio, JMLR
    2012, compare them with grids and with independent draws). SciPy draws the sequence; the shift (Cranley and Patterson,
    1976) is drawn here, so that a trial doesn't depend on SciPy's version, as its scrambling would.

    Args:
        tune: the grid's section.
        space: from :func:`space_of`, not empty for trials above 0 to differ.
        method: its registered name.
        trial: its number.
    """
    if trial == 0 or not space:
        return {}
    from scipy.stats import qmc

    sobol = qmc.Sobol(len(space), scramble=False)
    sobol.fast_forward(trial)
    shares = (sobol.random(1)[0] + rng(tune.seed, "tune", method).random(len(space))) % 1
    return {key: span.at(float(share)) for (key, span), share in zip(space.items(), shares, strict=True)}


def rung_steps(tune: Tune, iterations: int, every: int) -> list[int]:
    """Return the steps after which trials are compared, the last one their end: rungs brought up to the next evaluation.

    Raises:
        BenchError: if two rungs fall on one evaluation.
    """
    if tune.halving is None:
        return [iterations]
    steps = [min(-(-math.ceil(share * iterations) // every) * every, iterations) for share in tune.halving.rungs]
    if len(set(steps)) < len(steps):
        raise BenchError(
            f"tune.halving.rungs: {list(tune.halving.rungs)} of {iterations} iterations fall on evaluations after "
            f"{', '.join(map(str, steps))}; evaluate more often (evaluation.every is {every}), or use fewer rungs"
        )
    return steps


def trial_raw(point: RawView, tune: Tune, changes: Settings, seed: int) -> tuple[Raw, Settings]:
    """Return a raw cell for a trial, and what is still to be set on it, from that of a reported cell.

    Args:
        point: the raw cell of a reported cell, whatever its seeds.
        tune: the grid's section.
        changes: the trial's settings.
        seed: the trial's.
    """
    raw = {key: value for key, value in point.items() if key not in ("seed", "seeds")}
    held = {"evaluation.select_on": "holdout", "evaluation.holdout": tune.select.images}
    return {**raw, "seed": seed}, {**changes, **(held if tune.select.on == "holdout" else {})}
