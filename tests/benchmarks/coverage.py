"""How often each interval holds the truth, simulated: ``python -m tests.benchmarks.coverage`` writes the figures anew.

They are kept in ``results/measured/coverage.json`` and said beneath tables. Each case is repeated with a fixed seed; the
standard error of a coverage of 95 % over 1,000 repetitions is 0.7 points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.files import REPOSITORY, write_json
from bench.report.papers.equivalence import compare
from bench.report.statistics.aggregate import improvement, iqm
from bench.report.statistics.images import Parts, interval
from bench.report.statistics.paired import Interval, sign_flip, student, superiority
from bench.seeds import rng
from tests.bench.report.statistics.simulated import Images, draw_images, draw_run

PATH = REPOSITORY / "results" / "measured" / "coverage.json"
CLASSES = np.array([0.9, 0.75, 0.6, 0.45])  # accuracies
SPREAD = 0.01  # of a seed's accuracies around them, about 1 mIoU
GAIN = 0.02  # of A over B
Draw = np.random.Generator
Shape = Callable[[Draw, int], NDArray[np.float64]]
SHAPES: dict[str, Shape] = {
    "normal": lambda draw, n: draw.normal(0.5, 1, n),
    "skewed": lambda draw, n: draw.exponential(1, n) - 0.5,  # mean 0.5, skewness 2
}


def covered(found: Interval, truth: float) -> bool:
    """Tell whether an interval holds the truth."""
    return found[0] <= truth <= found[1]


def _share(repetitions: int, hit: Callable[[Draw, int], bool], n: int) -> float:
    name = getattr(hit, "__name__", "")
    return round(float(np.mean([hit(rng(i, "coverage", name, n), n) for i in range(repetitions)])), 3)


def _normal(draw: Draw, n: int) -> bool:
    return covered(student(list(SHAPES["normal"](draw, n))), 0.5)


def _skewed(draw: Draw, n: int) -> bool:
    return covered(student(list(SHAPES["skewed"](draw, n))), 0.5)


def of_pairs(repetitions: int) -> dict[str, float]:
    """Return the coverage of Student's interval of a mean of 0.5, for numbers of pairs and shapes of differences."""
    return {
        f"{n} pairs, {shape}": _share(repetitions, hit, n)
        for shape, hit in (("normal", _normal), ("skewed", _skewed))
        for n in (3, 5, 10)
    }


def _equivalent(draw: Draw, n: int) -> bool:
    return compare(list(draw.normal(1.0, 0.5, n)), 0.0, 1.0).equivalent


def _flips(draw: Draw, n: int) -> bool:
    return sign_flip(list(draw.normal(0, 1, n))) <= 0.05


def of_tests(repetitions: int) -> dict[str, float]:
    """Return error rates of the tests: how often they find what isn't there."""
    margin = {f"equivalence, {n} pairs, at the margin": _share(repetitions, _equivalent, n) for n in (3, 5, 10)}
    return margin | {f"sign flips at 5 %, {n} pairs, no difference": _share(repetitions, _flips, n) for n in (3, 6, 10)}


def _superior(draw: Draw, n: int) -> bool:
    return covered(superiority(list(draw.normal(0.5, 1, n)))[1], 0.6914625)


def of_superiority(repetitions: int) -> dict[str, float]:
    """Return the coverage of Wilson's interval of P(A > B), whose truth is 0.69 for differences of mean 0.5 and sd 1."""
    return {f"{n} pairs": _share(repetitions, _superior, n) for n in (3, 5, 10)}


def _run(draw: Draw, images: Images, method: int, shift: float) -> Parts:
    """Return a run's parts: accuracies of its seed, drawn around those of the classes."""
    gain = GAIN if method == 0 else 0.0
    accuracy = np.clip(CLASSES + gain + shift + draw.normal(0, SPREAD, len(CLASSES)), 0.05, 0.98)
    return Parts.of(draw_run(draw, images, method, accuracy))


def _pair(draw: Draw, images: Images) -> tuple[Parts, Parts]:
    shift = float(draw.normal(0, SPREAD))  # a seed moves both arms
    return _run(draw, images, 0, shift), _run(draw, images, 1, shift)


def _differences(pairs: list[tuple[Parts, Parts]]) -> list[float]:
    ones = np.ones((1, len(pairs[0][0].hit)))
    return [float(a.miou(ones)[0] - b.miou(ones)[0]) for a, b in pairs]


def true_difference(images: int) -> float:
    """Return the mean difference of mIoU over 8,000 seeds, each on images of its own."""
    draw = rng(0, "truth", images)
    pairs = (_pair(draw, draw_images(draw, images, len(CLASSES))) for _ in range(8_000))
    return float(np.mean([_differences([pair])[0] for pair in pairs]))


def of_images(repetitions: int, images: int = 100) -> dict[str, float]:
    """Return the coverage of the interval over seeds and images, and of Student's on the same pairs.

    The truth is the mean over seeds and over sets of images, which all pairs of a repetition share.
    """
    truth, found = true_difference(images), dict[str, float]()
    for seeds in (1, 3, 5, 10):
        hits = np.zeros((repetitions, 2))
        for i in range(repetitions):
            draw = rng(i, "coverage", "images", seeds)
            shared = draw_images(draw, images, len(CLASSES))
            pairs = [_pair(draw, shared) for _ in range(seeds)]
            hits[i, 0] = covered(interval(pairs, resamples=1_000), truth)
            hits[i, 1] = seeds > 1 and covered(student(_differences(pairs)), truth)
        found[f"{seeds} seeds × {images} images"] = round(float(hits[:, 0].mean()), 3)
        if seeds > 1:
            found[f"{seeds} seeds, Student's on the same"] = round(float(hits[:, 1].mean()), 3)
    return found


MEANS = np.array([40.0, 55.0, 60.0, 70.0])  # of four columns, whose runs have a standard deviation of 1


@cache
def true_iqm() -> float:
    """Return the interquartile mean of very many runs of the four columns."""
    from scipy.stats import trim_mean

    return float(trim_mean(rng(0, "truth iqm").normal(MEANS[:, None], 1.0, (4, 50_000)), 0.25, axis=None))


def _iqm(draw: Draw, n: int) -> bool:
    return covered(iqm([list(column) for column in draw.normal(MEANS[:, None], 1.0, (4, n))])[1], true_iqm())


def _improved(draw: Draw, n: int) -> bool:
    # P of a normal of mean 0.5 above one of mean 0, both of standard deviation 1
    columns = [(list(draw.normal(0.5, 1, n)), list(draw.normal(0, 1, n))) for _ in MEANS]
    return covered(improvement(columns)[1], 0.6381632)


def of_aggregates(repetitions: int) -> dict[str, float]:
    """Return the coverage of the intervals of the interquartile mean and of the probability of improvement."""
    cases = (("interquartile mean", _iqm), ("improvement", _improved))
    return {f"{name}, 4 columns × {n} runs": _share(repetitions, hit, n) for name, hit in cases for n in (3, 5, 10)}


def main() -> None:
    """Simulate all, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1_000)
    count = parser.parse_args().repetitions
    found = {
        "repetitions": count,
        "student": of_pairs(count),
        "seeds and images": of_images(count),
        "superiority": of_superiority(count),
        "aggregates": of_aggregates(count),
        "errors": of_tests(count),
    }
    for name, figures in found.items():
        if isinstance(figures, dict):
            for case, value in figures.items():
                print(f"{name}: {case}: {value:.3f}")
    write_json(PATH, found)


if __name__ == "__main__":
    main()
