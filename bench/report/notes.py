"""The lines below a table: the rule, the protocol, what ± means, what is missing and why, and what can't be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.report.headline import Rule
from bench.report.model import STOPPED, Table, Unfinished
from bench.report.records import Record, group, is_seed, pick, varying
from bench.report.rows import STATES, one_line
from bench.spec.deviations import Deviation
from bench.store.summary import Summary

MAX_LINES = 20
PLACE = ("dataset", "network", "protocol", "labels")
_PLUS_MINUS = (
    "± is the sample standard deviation (n − 1) over seeds. In brackets: the number of runs n, or done/planned where runs "
    "are missing; a single run has no ±."
)


def name(place: Mapping[str, str]) -> str:
    """Return a readable name for coordinates, e.g. `camvid, resnet18, schedule.lr 0.01, labels 1/4`."""
    # The protocol `full` has the one budget `full`: once is enough.
    shown = {axis: value for axis, value in place.items() if axis != "protocol" or value != place.get("labels")}
    return ", ".join(
        f"{axis} {value}" if "." in axis or axis in ("labels", "seed") else value for axis, value in shown.items()
    )


def where(record: Record, names: Sequence[str]) -> str:
    """Return a readable name for a record's coordinates on the named axes, see :func:`name`."""
    return name({axis: str(record.coords[axis]) for axis in names})


def unfinished(records: Sequence[Record], names: Sequence[str]) -> Iterator[Unfinished]:
    """Yield the runs that are not done; listed below the table are those that stopped and those of incomplete cells.

    A cell without any run done says itself what its runs are waiting for.
    """
    cell_axes = [axis for axis in names if not is_seed(axis)]
    vary = {"method", "labels", *varying(records, cell_axes)}
    shown = [axis for axis in cell_axes if axis in vary]
    for found in group(records, lambda record: pick(record, cell_axes)).values():
        some = any(record.run.state == "done" for record in found)
        for record in found:
            run = record.run
            if run.state != "done":
                listed = some or run.state in STOPPED
                yield Unfinished(where(record, shown), run.id, run.seed, run.state, run.status, listed)


def missing(table: Table) -> list[str]:
    """Return one line per run that is missing from a cell or has stopped, at most :data:`MAX_LINES` and a count."""
    listed = [run for run in table.unfinished if run.listed]
    lines = [f"{run.where}, seed {run.seed}: {run.status}" for run in listed[:MAX_LINES]]
    rest = len(listed) - len(lines)
    return [*lines, f"and {rest} more: `--format json` has them all"] if rest else lines


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _evaluation(records: Sequence[Record]) -> str:
    counts = Counter(record.run.evaluation for record in records if record.run.state == "done")
    if not counts:
        return "Evaluation: no run is done yet."
    if len(counts) == 1:
        return f"Evaluation: {next(iter(counts))}."
    return "Evaluation: " + "; ".join(f"{protocol} ({_runs(count)})" for protocol, count in counts.items()) + "."


def _progress(records: Sequence[Record]) -> str:
    counts = Counter(record.run.state for record in records)
    rest = ", ".join(f"{counts[state]} {state}" for state in STATES if state != "done" and counts[state])
    return f"Runs: {counts['done']} of {len(records)} done" + (f"; {rest}." if rest else ".")


def notes(records: Sequence[Record], headline: Rule, rivals: str) -> list[str]:
    """Return how to read the table; `rivals` is the direction in which cells compete, `column`, `row` or none."""
    bold = [f"Bold: the highest mean of its {rivals}, among cells with all planned runs done."] if rivals else []
    return [headline.words, _evaluation(records), _PLUS_MINUS, *bold, _progress(records)]


def words(value: Any) -> str:
    """Return a value of a spec as people write it: `classmix, reco`, `64`."""
    return ", ".join(map(words, value)) if isinstance(value, list) else one_line(str(value))


def changed(deviation: Deviation) -> str:
    """Return a deviation from the recipe in words: `schedule.iterations 2, not 40000`."""
    return f"{deviation.key} {words(deviation.value)}, not {words(deviation.recipe)}"


def deviations(grid: Summary) -> Iterator[str]:
    """Yield how many runs deviate from the grid's recipe, and how, where ``--set`` made any."""
    if grid.deviations:
        count = sum(bool(cell.deviations) for cell in grid.cells)
        each = "; ".join(f"{changed(entry)} ({_runs(entry.cells)})" for entry in grid.deviations)
        yield f"Recipe: the grid's, but changed by --set for {count} of {_runs(len(grid.cells))}: {each}."


def absent(grid: Summary) -> Iterator[str]:
    """Yield which data isn't here, so that cells are those of the store's runs; and how many runs stand for none."""
    for dataset, reason in grid.absent.items():
        yield f"The data of '{dataset}' can't be used here ({one_line(reason)}): its cells are the runs of the store."
    if grid.left_out:
        yield (
            f"Left out: {_runs(len(grid.left_out))} of the same recipe on other data than the others "
            f"({', '.join(grid.left_out[:3])}{', …' if len(grid.left_out) > 3 else ''})."
        )


def _members(records: Sequence[Record], axes: Sequence[str]) -> str:
    found = list(dict.fromkeys(where(record, axes) for record in records))
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _differences(records: Sequence[Record], value_of: Callable[[Record], str], axes: Sequence[str], width: int) -> str:
    """Return who has which value, or an empty string where all have the same."""
    groups = group(records, value_of)
    if len(groups) < 2:
        return ""
    return "; ".join(f"{value[:width]}: {_members(found, axes)}" for value, found in groups.items())


def _place_warnings(place: Sequence[Record], axes: Sequence[str], seeds: Sequence[str]) -> Iterator[str]:
    at = where(place[0], PLACE)
    if found := _differences(place, lambda record: record.run.evaluation, axes, 200):
        yield f"Evaluation protocols differ at {at}; don't compare these runs ({found})."
    by_seed = group(place, lambda record: where(record, seeds))
    differing = {seed: _differences(runs, lambda record: record.run.split, axes, 8) for seed, runs in by_seed.items()}
    wrong = [seed for seed, found in differing.items() if found]
    if wrong:
        names = ", ".join([wrong[0], *(seed.removeprefix("seed ") for seed in wrong[1:])])
        yield f"Splits differ at {at}, {names}; don't compare these runs ({wrong[0]}: {differing[wrong[0]]})."


def warnings(records: Sequence[Record], names: Sequence[str]) -> Iterator[str]:
    """Yield why numbers that stand side by side can't be compared.

    Methods are compared on the same labelled images and under the same evaluation protocol, or not at all.
    """
    axes = [
        "method",
        *(axis for axis in varying(records, names) if axis not in (*PLACE, "method") and not is_seed(axis)),
    ]
    seeds = [axis for axis in names if is_seed(axis)]
    done = [record for record in records if record.run.state == "done"]
    for place in group(done, lambda record: pick(record, PLACE)).values():
        yield from _place_warnings(place, axes, seeds)
    for same in group(records, lambda record: pick(record, names)).values():
        if len(same) > 1:
            at = where(same[0], [*PLACE, *axes, *seeds])
            yield f"{len(same)} planned runs have the same coordinates ({at}) and are pooled; give them an axis."
