"""What differs between runs that are pooled or compared, can move a result, and is no choice of the grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.report import notes
from bench.report.environment import THEN, Fact, fact, parsed
from bench.report.records import Record, group, is_seed, pick, varying

MAX_PLACES = 3  # lines per fact; further places are counted
MAX_VALUES = 4  # named in a line; further ones are counted
_WIDTH = 80


def _known(records: Sequence[Record]) -> list[Record]:
    """Return the runs that are done and of which something is known; of a compared pair, both."""
    runs = (side for record in records if record.run.state == "done" for side in record.sides or (record,))
    return [run for run in runs if run.environment]


def _value(record: Record, of: Fact) -> str:
    values = parsed(record.environment).get(of.column, ())
    return THEN.join(value[: of.digits or _WIDTH] for value in values)


def _columns(place: Sequence[Record]) -> list[str]:
    """Return the columns that differ between runs of a place, or within one of them."""
    found = [parsed(text) for text in dict.fromkeys(record.environment for record in place)]
    names = dict.fromkeys(column for values in found for column in values)
    seen = {name: {values[name] for values in found if name in values} for name in names}
    return [name for name, values in seen.items() if len(values) > 1 or len(next(iter(values))) > 1]


def _who(found: Sequence[Record], axes: Sequence[str], mixed: set[tuple[str, ...]]) -> str:
    """Name the rows that runs belong to; with seeds where other runs of the same row have another value."""
    names = []
    for row, runs in group(found, lambda record: pick(record, axes)).items():
        seeds = ", ".join(str(run.run.seed) for run in runs)
        name = notes.name(dict(zip(axes, row, strict=True)))
        names.append(f"{name} seed {seeds}" if row in mixed else name)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _has(place: Sequence[Record], of: Fact, axes: Sequence[str]) -> str:
    """Return who has which value, e.g. `2.3.1: supervised; 2.15.0: classmix seed 0`."""
    groups = group([record for record in place if _value(record, of)], lambda record: _value(record, of))
    rows = Counter(row for found in groups.values() for row in {pick(record, axes) for record in found})
    mixed = {row for row, count in rows.items() if count > 1}
    said = [f"{value}: {_who(found, axes, mixed)}" for value, found in groups.items()]
    return "; ".join(said[:MAX_VALUES]) + (f"; and {len(said) - MAX_VALUES} more" if len(said) > MAX_VALUES else "")


def _by_fact(records: Sequence[Record], names: Sequence[str]) -> dict[str, list[list[Record]]]:
    """Return the places at which each column differs: the runs of the same dataset, network and label budget."""
    places = group(_known(records), lambda record: pick(record, notes.PLACE)).values()
    chosen = set(varying(records, names))
    found = dict[str, list[list[Record]]]()
    for place in places:
        for column in _columns(place):
            if fact(column).key not in chosen:
                found.setdefault(column, []).append(place)
    return found


def labels(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Return the names of the facts that :func:`warnings` speaks of."""
    return [fact(column).label for column in _by_fact(records, names)]


def warnings(records: Sequence[Record], names: Sequence[str]) -> Iterator[str]:
    """Yield a line per fact and place where runs that are pooled in a cell or stand beside each other differ in it.

    A run whose attempts differ is named too, with its values in order. What isn't known of a run isn't compared.

    Args:
        records: of a table; those of pairs have their `sides`.
        names: the grid's axes.
    """
    axes = [
        "method",
        *(axis for axis in varying(records, names) if axis not in (*notes.PLACE, "method") and not is_seed(axis)),
    ]
    for column, places in _by_fact(records, names).items():
        one = fact(column)
        for place in places[:MAX_PLACES]:
            where = notes.where(place[0], notes.PLACE)
            yield f"{one.label} differs at {where}; it can move results ({_has(place, one, axes)})."
        if len(places) > MAX_PLACES:
            yield f"{one.label} differs at {len(places) - MAX_PLACES} more label budgets: `table --runs` has all values."
