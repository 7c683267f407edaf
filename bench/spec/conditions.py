"""Conditions on cells (``when``, ``exclude``, ``--only``): values are compared as the cell has them, not as they are spelt.

A condition sees the cell as it is resolved, its parts' and sections' defaults included: ``1`` is ``1.0``, and a cell that
leaves `mix` out has the default's. Of a method that brings a network of its own it sees the network that the recipe names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, get_args

from bench.errors import BenchError, nearest
from bench.registry import Kind
from bench.spec.cell import PARTS, SECTIONS, part_mapping, resolve_part
from bench.spec.messages import validate
from bench.spec.yaml import Raw, RawView

ABSENT = object()  # the value of a key that a cell doesn't have


def same(have: Any, wanted: Any) -> bool:
    """Tell whether a value is the one that is asked for: numbers by their value, lists by their elements.

    True is no number, and a number is no text. Of keys and values, `have` may hold more than is asked for.
    """
    if isinstance(have, bool) or isinstance(wanted, bool):
        return have is wanted
    if isinstance(have, Real) and isinstance(wanted, Real):
        return have == wanted
    if isinstance(have, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(have) == len(wanted) and all(map(same, have, wanted))
    if isinstance(have, Mapping) and isinstance(wanted, Mapping):
        return all(key in have and same(have[key], value) for key, value in wanted.items())
    return type(have) is type(wanted) and bool(have == wanted)


class Resolved:
    """Looks at raw cells as they will be resolved; what they share is resolved once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Any] = {}

    def piece(self, raw: RawView, name: str) -> Any:
        """Return a part or section of a raw cell with its defaults, or as it is written where it isn't valid yet."""
        written = raw.get(name, {})
        if name == "seeds":
            written = {**dict.fromkeys(("split", "init", "data"), raw.get("seed", 0)), **written}
        place = name, repr(written)
        if place not in self._known:
            try:
                self._known[place] = _resolved(name, written)
            except BenchError:  # an override may still mend it; if none does, planning says what is wrong
                self._known[place] = written
        return self._known[place]

    def value(self, raw: RawView, key: str) -> Any:
        """Return the value of a dotted key, or :data:`ABSENT`."""
        first, *rest = key.split(".")
        node = self.piece(raw, first) if first in PARTS or first in SECTIONS else raw.get(first, ABSENT)
        for step in rest:
            node = node.get(step, ABSENT) if isinstance(node, Mapping) else ABSENT
        return node

    def meets(self, raw: RawView, key: str, wanted: Any) -> bool:
        """Tell whether a raw cell has one value at a key; a part is met by its name, its label, or some of its options."""
        if key in PARTS and isinstance(raw.get(key), Mapping):
            if isinstance(wanted, str):
                return wanted in (raw[key].get("name"), raw[key].get("label"))
            return same({**raw[key], **self.piece(raw, key)}, _options(key, wanted))
        return same(self.value(raw, key), wanted)


def _resolved(name: str, written: Any) -> Any:
    if name in PARTS:
        options = {key: value for key, value in part_mapping(_kind(name), written, name).items() if key != "label"}
        part = resolve_part(_kind(name), options, name)
        return {"name": part.name, **part.config.model_dump()}
    return validate(SECTIONS[name], written, name).model_dump()


def _kind(name: str) -> Kind:
    return next(kind for kind in get_args(Kind) if kind == name)


def _options(kind: str, wanted: Any) -> Raw:
    """Return a part's options as a condition asks for them, typed as the part has them where they are valid."""
    options = part_mapping(_kind(kind), wanted, kind)
    try:
        full = _resolved(kind, options)
    except BenchError:
        return options
    return {key: full.get(key, value) for key, value in options.items()}


def listed(value: Any) -> list[Any]:
    """Return the values of which one must be met."""
    return value if isinstance(value, list) else [value]


def matches(raw: RawView, when: RawView, resolved: Resolved | None = None) -> bool:
    """Tell whether a raw cell meets all conditions of a ``when``."""
    look = resolved or Resolved()
    return all(any(look.meets(raw, key, wanted) for wanted in listed(value)) for key, value in when.items())


class Condition:
    """A ``when`` that notes what of it was met by any cell, so that a typing error doesn't pass as "matches nothing"."""

    def __init__(self, name: str, when: RawView, resolved: Resolved) -> None:
        self.name, self.when, self._resolved = name, when, resolved
        self.met = False
        self._unmet = [(key, wanted) for key, value in when.items() for wanted in listed(value)]
        self._missing = {key for key in when if key not in PARTS}
        self._names: dict[str, set[str]] = {}

    def __call__(self, raw: RawView) -> bool:
        """Tell whether a raw cell meets it."""
        if self._missing:
            self._note_keys(raw)
        if self._unmet:
            self._unmet = [(key, wanted) for key, wanted in self._unmet if not self._resolved.meets(raw, key, wanted)]
        meets = matches(raw, self.when, self._resolved)
        self.met = self.met or meets
        return meets

    def _note_keys(self, raw: RawView) -> None:
        for key in list(self._missing):
            first = key.split(".")[0]
            if self._resolved.value(raw, key) is not ABSENT or first == "profile":
                self._missing.discard(key)
            elif first in PARTS or first in SECTIONS:
                self._names.setdefault(key, set()).update(_keys(self._resolved.piece(raw, first), f"{first}."))

    def check(self, where: str) -> None:
        """Raise if a key or a value of it stands for nothing in the grid.

        Raises:
            BenchError: naming it, with the nearest match.
        """
        for key in self._missing:
            known = self._names.get(key, set())
            raise BenchError(
                f"{where}: {self.name}.{key}: no cell of the grid has this key{nearest(key, sorted(known))}"
            )
        for key, wanted in self._unmet:
            hint = (
                "; numbers and true or false are no text: quote what is"
                if not isinstance(wanted, (str, Mapping))
                else ""
            )
            raise BenchError(f"{where}: {self.name}: {key} {wanted!r} matches no cell of the grid{hint}")
        if not self.met:
            raise BenchError(f"{where}: {self.name}: {dict(self.when)} matches no cell of the grid")


def _keys(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")
