"""What the pairs of a comparison say: the difference, its intervals, tests, and in a sentence whether they settle it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from bench.report.model import Facts
from bench.report.statistics.paired import (
    Interval,
    equivalence_p,
    holm,
    sign_flip,
    sign_flip_floor,
    student,
    student_p,
    superiority,
)

LEVEL = 0.05
LEAST_PAIRS = 3
COVERAGE = Path(__file__).parents[2] / "results" / "measured" / "coverage.json"


@dataclass(frozen=True)
class Difference:
    """What pairs say about a difference.

    Attributes:
        n: pairs.
        mean: of their differences; None without pairs.
        margin: the largest difference that counts as none, in mIoU.
        student: 95 % interval of the mean; None below two pairs.
        p: of Student's test that the mean is 0; None below two pairs.
        p_holm: the same, corrected for the number of the table's comparisons.
        p_sign_flip, p_sign_flip_floor: of the sign-flip test, and the least that so many pairs can give.
        superiority, superiority_interval: P(A > B) and its 95 % interval.
        p_equivalent: of the two one-sided tests that the mean lies within ± margin; None below two pairs.
        seeds_and_images: 95 % interval over seeds and test images; None where the matrices of the images aren't kept.
    """

    n: int
    mean: float | None
    margin: float
    student: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    p_sign_flip: float | None = None
    p_sign_flip_floor: float | None = None
    superiority: float | None = None
    superiority_interval: Interval | None = None
    p_equivalent: float | None = None
    seeds_and_images: Interval | None = None

    @property
    def settled(self) -> bool:
        """Whether so many pairs tell which is better, by the rule that the table states."""
        return self.n >= LEAST_PAIRS and self.p_holm is not None and self.p_holm <= LEVEL

    @property
    def equivalent(self) -> bool:
        """Whether so many pairs tell that the difference lies within the margin."""
        return self.n >= LEAST_PAIRS and self.p_equivalent is not None and self.p_equivalent <= LEVEL

    @property
    def verdict(self) -> str:
        """Whether it is settled which is better, or that the difference is none to speak of."""
        if self.equivalent:
            return f"equivalent (±{self.margin:g})"
        return "yes" if self.settled else "no"

    @property
    def facts(self) -> Facts:
        """All of it, for programs."""
        return {**asdict(self), "settled": self.settled, "equivalent": self.equivalent}


def difference(values: Sequence[float], margin: float = 1.0, over_images: Interval | None = None) -> Difference:
    """Return what differences of pairs say, by themselves: `p_holm` is corrected by :func:`corrected`.

    Args:
        values: A − B of each pair, in mIoU.
        margin: the largest difference that counts as none.
        over_images: the interval over seeds and images, where it is known.
    """
    n = len(values)
    if not n:
        return Difference(0, None, margin)
    share, around = superiority(values)
    several = n > 1
    p = student_p(values) if several else None
    return Difference(
        n,
        sum(values) / n,
        margin,
        student=student(values) if several else None,
        p=p,
        p_holm=p,
        p_sign_flip=sign_flip(values),
        p_sign_flip_floor=sign_flip_floor(n),
        superiority=share,
        superiority_interval=around,
        p_equivalent=equivalence_p(values, margin),
        seeds_and_images=over_images,
    )


def corrected(found: Mapping[str, Difference]) -> dict[str, Difference]:
    """Return a table's differences with Holm's correction for their number."""
    tested = {name: one.p for name, one in found.items() if one.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {name: replace(one, p_holm=adjusted.get(name)) for name, one in found.items()}


def signed(value: float) -> str:
    """Return a number with its sign: `+1.3`, `−0.4`."""
    return f"{value:+.1f}".replace("-", "−")


def span(interval: Interval | None) -> str:
    """Return an interval in words; nothing where there is none."""
    return "" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}".rstrip("0").rstrip(".")


def lines(found: Difference) -> dict[str, str]:
    """Return what stands below a difference in a table, text by label."""
    if not found.n:
        return {"95 % interval": "", "settled": "no"}
    over_images = {"over seeds and images": span(found.seeds_and_images)} if found.seeds_and_images else {}
    return {
        "95 % interval": span(found.student),
        **over_images,
        "p, Holm": _p(found.p_holm),
        "p, sign flips": _p(found.p_sign_flip),
        "P(A > B)": "" if found.superiority is None else f"{found.superiority:.2f}",
        "settled": found.verdict,
    }


def sentence(found: Difference, one: str, other: str, score: str = "mIoU") -> str:
    """Return in plain words what the pairs say, e.g. `reco is 2.1 mIoU above classmix (…): 3 pairs settle it`."""
    if found.mean is None:
        return "no pair is done yet"
    side = "above" if found.mean >= 0 else "below"
    start = f"{one} is {abs(found.mean):.1f} {score} {side} {other}"
    if found.student is None:
        return f"{start}: a single pair settles nothing"
    start += f" (95 % interval {span(found.student)})"
    if found.equivalent:
        return f"{start}: {found.n} pairs show them equivalent within {found.margin:g} {score}"
    return f"{start}: {found.n} pairs {'settle' if found.settled else 'do not settle'} it"


@cache
def _simulated() -> dict[str, dict[str, float]]:
    """Return the coverage that was simulated of each interval; empty in an installation without the figures."""
    try:
        found: dict[str, dict[str, float]] = json.loads(COVERAGE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _percent(kind: str, *cases: str) -> str:
    known = _simulated().get(kind, {})
    return ", ".join(f"{100 * known[case]:.0f} %" for case in cases if case in known) or "not simulated"


def explanations(found: Sequence[Difference], score: str) -> list[str]:
    """Return how to read the lines below a table's differences."""
    margin = found[0].margin if found else 1.0
    sizes = ("3 pairs", "5 pairs", "10 pairs")
    floor = max((one.p_sign_flip_floor or 0.0 for one in found), default=0.0)
    said = [
        "95 % interval: Student's, of the mean of the paired differences on these test images. Simulated coverage with "
        f"3, 5, 10 pairs: {_percent('student', *(f'{size}, normal' for size in sizes))} of normal differences, "
        f"{_percent('student', *(f'{size}, skewed' for size in sizes))} of skewed ones.",
    ]
    if any(one.seeds_and_images for one in found):
        cases = tuple(f"{n} seeds × 100 images" for n in (1, 3, 5, 10))
        others = tuple(f"{n} seeds, Student's on the same" for n in (3, 5, 10))
        said.append(
            "Over seeds and images: both are drawn anew (BCa bootstrap), so it also covers another choice of test images. "
            f"Simulated coverage with 1, 3, 5, 10 seeds: {_percent('seeds and images', *cases)}; of such a choice Student's "
            f"covers, with 3, 5, 10: {_percent('seeds and images', *others)}."
        )
    said += [
        "p, Holm: Student's test, corrected for the number of comparisons in this table. p, sign flips: over all ways to "
        f"turn the signs of the differences; with so few pairs it can't go below {_p(floor)}. P(A > B): the share of pairs "
        "in which A is above.",
        f"Settled: at least {LEAST_PAIRS} pairs and p (Holm) at most {LEVEL:g}; 'equivalent' where two one-sided t tests "
        f"show that the difference lies within ±{margin:g} {score} (--margin).",
    ]
    return said
