"""``--only``: cells chosen by their coordinates, or by any other value that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench.errors import BenchError, unknown
from bench.spec.cell import PARTS, Cell
from bench.spec.conditions import ABSENT, Resolved, cell_piece, listed, piece_spec, same
from bench.text import cut
from bench.yaml import parse_yaml

T = TypeVar("T")
_NAMES = (*PARTS, "labels")  # coordinates that are names, however they look


@dataclass(frozen=True)
class Wanted:
    """One ``key=value`` of ``--only``.

    Attributes:
        key: a coordinate or the last word of its key, or a dotted key of a cell.
        text: the value as it was written, without quotes.
        value: what the text means as YAML.
    """

    key: str
    text: str
    value: Any


def asked_for(only: str) -> list[Wanted]:
    """Take ``key=value,…`` apart; a comma within quotes or brackets is part of its value.

    Raises:
        BenchError: if an item isn't ``key=value``, or a quote isn't closed.
    """
    if only and not only.strip():
        raise BenchError("--only: expected key=value, e.g. --only method=classmix,seed=0; leave it out for all cells")
    found = []
    for item in _split(only):
        text = item[1:-1] if _quoted(item) else item
        key, equals, value = text.partition("=")
        if not (equals and key):
            raise BenchError(
                f"--only {cut(item)}: expected key=value, e.g. --only method=classmix,seed=0; "
                'a value with a comma stands in quotes: method="a, b"'
            )
        plain = value[1:-1] if _quoted(value) else value
        found.append(Wanted(key, plain, plain if _quoted(value) else _meaning(plain, key)))
    return found


def _split(only: str) -> Iterator[str]:
    """Yield the items between commas that are neither in quotes nor in brackets; both open where a value begins."""
    quote, depth, begin, before = "", 0, 0, ","
    for i, character in enumerate(only):
        opens = before in ",=[{:"
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and opens:
            quote = character
        elif character in "[{" and opens:
            depth += 1
        elif character in "]}" and depth:
            depth -= 1
        elif character == "," and not depth:
            yield only[begin:i].strip()
            begin = i + 1
        before = character if character != " " else before
    if quote:
        raise BenchError(f"--only {cut(only)}: the quote {quote} isn't closed")
    if only.strip():
        yield only[begin:].strip()


def _quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def _meaning(text: str, key: str = "") -> Any:
    """Return what a text means as YAML; one that is none is itself."""
    try:
        return parse_yaml(text, "--only", key)
    except BenchError:
        return text


def choose(
    items: Sequence[T], coords: Callable[[T], Mapping[str, Any]], wanted: Wanted, cell: Callable[[T], Cell] | None
) -> set[int]:
    """Return the ids (of Python) of the items that have what is wanted: as a coordinate, else as a value of the cell.

    Raises:
        BenchError: if no item has such a key or value, with the nearest match.
    """
    wanted = _in_full(wanted, {key for item in items for key in coords(item)})
    answers: dict[Any, bool] = {}

    def has(label: Any) -> bool:
        if label not in answers:
            answers[label] = _is(label, wanted)
        return answers[label]

    chosen = {id(item) for item in items if wanted.key in coords(item) and has(coords(item)[wanted.key])}
    if chosen:
        return chosen
    pieces = {id(piece): piece for item in items if cell and (piece := cell_piece(cell(item), wanted.key)) is not None}
    look, fitting = Resolved(), set[int]()
    specs = {place: piece_spec(piece, wanted.key) for place, piece in pieces.items()}
    for place, spec in specs.items():
        if any(look.met(spec, wanted.key, wanted.value)):
            fitting.add(place)
    if fitting and cell:
        return {id(item) for item in items if id(cell_piece(cell(item), wanted.key)) in fitting}
    raise _nothing(wanted, [coords(item) for item in items], look, list(specs.values()))


def _in_full(wanted: Wanted, axes: set[str]) -> Wanted:
    """Return what is wanted with its axis' key, of which the last word is enough, as in ``--rows`` and ``--x``."""
    meant = [axis for axis in axes if axis.rpartition(".")[2] == wanted.key]
    return replace(wanted, key=meant[0]) if wanted.key not in axes and len(meant) == 1 else wanted


def _is(label: Any, wanted: Wanted) -> bool:
    """Tell whether a coordinate is what is wanted."""
    if str(label) == wanted.text:
        return True
    if wanted.key in _NAMES:
        return isinstance(wanted.value, list) and str(label) in map(str, wanted.value)
    meant = None if label == "None" else _meaning(label) if isinstance(label, str) else label
    return same(meant, wanted.value) or any(same(meant, value) for value in listed(wanted.value))


def _nothing(wanted: Wanted, places: Sequence[Mapping[str, Any]], look: Resolved, specs: Sequence[Any]) -> BenchError:
    """Return the error for a key that nothing has, or else for the value."""
    labels = {str(place[wanted.key]) for place in places if wanted.key in place}
    if labels:
        return unknown(f"value of --only {wanted.key}", wanted.text, labels)
    values = {str(value) for spec in specs if (value := look.value(spec, wanted.key)) is not ABSENT}
    if values:
        return unknown(f"value of --only {wanted.key}", wanted.text, values)
    keys = {key for place in places for key in place}
    near = {key for spec in specs for key in look.known_keys(spec, wanted.key)}
    return unknown("key of --only", wanted.key, keys | near)
