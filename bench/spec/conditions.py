"""Conditions on cells (``when``, ``exclude``, ``--only``): values are compared as the cell has them, not as they are spelt.

A condition holds where setting its value would change nothing in the resolved cell. So ``1`` is ``1.0``, a share of 0.25
is ``1/4``, and a cell that leaves `mix` out has the default's. What a condition sees is the cell as it stands when it is
asked, with its parts' and sections' defaults, and with the network of a method that brings its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, get_args

from bench import registry
from bench.errors import BenchError, nearest
from bench.registry import Kind
from bench.spec.cell import PARTS, SECTIONS, Cell, part_mapping, resolve_part
from bench.spec.messages import validate
from bench.spec.network import own_network
from bench.text import shown
from bench.yaml import Raw, RawView

ABSENT = object()  # the value of a key that a cell doesn't have
_SHOWN = 6  # values that a message lists


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
        self._views: dict[str, tuple[Any, bool]] = {}

    def text(self, raw: RawView, key: str) -> str:
        """Return what decides whether a raw cell meets conditions on a key: the same text, the same answers."""
        first = key.split(".")[0]
        more = raw.get("seed") if first == "seeds" else raw.get("method") if first == "network" else None
        return f"{raw.get(first)!r} {more!r}"

    def value(self, raw: RawView, key: str) -> Any:
        """Return the value of a dotted key, or :data:`ABSENT`."""
        place, steps = _place(key)
        node = self._view(place, self._written(raw, place))[0]
        for step in steps:
            node = node.get(step, ABSENT) if isinstance(node, Mapping) else ABSENT
        return node

    def known_keys(self, raw: RawView, key: str) -> Iterator[str]:
        """Yield the dotted keys of the part or section that a key begins with."""
        place, _ = _place(key)
        return _keys(self._view(place, self._written(raw, place))[0], f"{place}.")

    def fits(self, raw: RawView, key: str, wanted: Any) -> bool | None:
        """Tell whether a raw cell has one value at a key; None where that is no value for it, or no key of it."""
        if key in PARTS:
            return self._part_fits(raw, key, wanted)
        place, steps = _place(key)
        return self._unchanged(place, self._written(raw, place), steps, wanted)

    def met(self, raw: RawView, key: str, wanted: Any) -> tuple[bool, ...]:
        """Tell which of the listed values a raw cell has at a key.

        A list names alternatives, unless none of them is a value for the key while the list is: a size, a range.
        """
        found = [self.fits(raw, key, value) for value in listed(wanted)]
        if isinstance(wanted, list) and found and all(one is None for one in found) and self.fits(raw, key, wanted):
            return (True,) * len(found)
        return tuple(bool(one) for one in found)

    def _part_fits(self, raw: RawView, kind: str, wanted: Any) -> bool | None:
        """Compare a part with a name, a label, or options, which may come with a name."""
        written = self._written(raw, kind)
        names = (written.get("name"), written.get("label"))
        if isinstance(wanted, str):
            return wanted in names
        if not isinstance(wanted, Mapping):
            return None
        options = _options(kind, wanted)
        if options.pop("name", names[0]) != names[0] or options.pop("label", names[1]) != names[1]:
            return False
        return self._unchanged(kind, written, [], options)

    def _unchanged(self, place: str, written: Any, steps: Sequence[str], wanted: Any) -> bool | None:
        """Tell whether setting a value changes nothing; None where that isn't valid."""
        have, valid = self._view(place, written)
        asked, possible = self._view(place, _with(written, steps, wanted))
        if valid and not possible:
            return None
        return same(have, asked) or (None if not valid else False)

    def _written(self, raw: RawView, place: str) -> Any:
        """Return a part or section of a raw cell as it is written, or would be for a method's own network."""
        written = raw.get(place, {})
        if place == "seeds":
            return {**dict.fromkeys(("split", "init", "data"), raw.get("seed", 0)), **written}
        if place in PARTS and isinstance(written, str):
            written = {"name": written}
        if place != "network" or "method" not in raw or not written:
            return written
        try:
            own = own_network(_part("network", written), _part("method", self._written(raw, "method")))
        except BenchError:  # an override may still mend it; if none does, planning says what is wrong
            return written
        label = {"label": written["label"]} if "label" in written else {}
        return written if own is None else {**own, **label}

    def _view(self, place: str, written: Any) -> tuple[Any, bool]:
        """Return a part or section with its defaults, and whether it is valid; as far as it is written where it isn't."""
        text = f"{place} {written!r}"
        if text not in self._views:
            try:
                self._views[text] = _resolved(place, written), True
            except BenchError:
                self._views[text] = written, False
        return self._views[text]


def _place(key: str) -> tuple[str, list[str]]:
    """Return the part or section that a dotted key lies in, and the steps from there."""
    first, *steps = key.split(".")
    return first, steps


def _kind(name: str) -> Kind:
    return next(kind for kind in get_args(Kind) if kind == name)


def _part(name: str, written: RawView) -> Any:
    return resolve_part(_kind(name), {key: value for key, value in written.items() if key != "label"}, name)


def _resolved(place: str, written: Any) -> Any:
    if place in PARTS:
        part = _part(place, written)
        label = {"label": written["label"]} if "label" in written else {}
        return {"name": part.name, **label, **part.config.model_dump()}
    if place in SECTIONS:
        return validate(SECTIONS[place], written, place).model_dump()
    if place == "seed":
        return validate(SECTIONS["seeds"], {"split": written}, place).model_dump()["split"]
    return written


def _with(written: Any, steps: Sequence[str], wanted: Any) -> Any:
    """Return what is written with a value set; keys and values are merged into what is there."""
    if steps:
        node = written if isinstance(written, Mapping) else {}
        return {**node, steps[0]: _with(node.get(steps[0], {}), steps[1:], wanted)}
    if isinstance(wanted, Mapping) and isinstance(written, Mapping):
        return {**written, **{key: _with(written.get(key, {}), [], value) for key, value in wanted.items()}}
    return wanted


def _options(kind: str, wanted: RawView) -> Raw:
    """Return a part's options as a condition asks for them, with its name where the condition gives one."""
    if "name" in wanted:
        return dict(wanted)
    if len(wanted) == 1 and next(iter(wanted)) in registry.names(_kind(kind)):
        return part_mapping(_kind(kind), wanted, kind)
    return dict(wanted)


def listed(value: Any) -> list[Any]:
    """Return the values of which one must be met."""
    return value if isinstance(value, list) else [value]


def matches(raw: RawView, when: RawView, resolved: Resolved | None = None) -> bool:
    """Tell whether a raw cell meets all conditions of a ``when``."""
    look = resolved or Resolved()
    return all(any(look.met(raw, key, value)) for key, value in when.items())


def cell_piece(cell: Cell, key: str) -> Any:
    """Return the part or section of a resolved cell that a dotted key lies in; None where a cell has none of that name."""
    first, _ = _place(key)
    return getattr(cell, first) if first in PARTS or first in SECTIONS else None


def piece_spec(piece: Any, key: str) -> Raw:
    """Return what :class:`Resolved` can ask about a piece of a resolved cell: a raw cell that has nothing else."""
    first, _ = _place(key)
    return {first: piece.spec() if first in PARTS else piece.model_dump(mode="json")}


class Condition:
    """A ``when`` that notes what of it was met by any cell, so that a typing error doesn't pass as "matches nothing"."""

    def __init__(self, name: str, when: RawView, resolved: Resolved) -> None:
        self.name, self.when, self._resolved = name, when, resolved
        self.met = False
        self._unmet = {(key, i) for key, value in when.items() for i in range(len(listed(value)))}
        self._missing = {key for key in when if key not in PARTS and not key.startswith("profile.")}
        self._names: dict[str, set[str]] = {}
        self._have: dict[str, dict[str, Any]] = {key: {} for key in when}
        self._answers: dict[tuple[str, str], bool] = {}

    def __call__(self, raw: RawView) -> bool:
        """Tell whether a raw cell meets it."""
        answers = [self._answer(raw, key) for key in self.when]  # each key is asked, since each notes what it meets
        meets = all(answers)
        self.met = self.met or meets
        return meets

    def _answer(self, raw: RawView, key: str) -> bool:
        place = key, self._resolved.text(raw, key)
        if place not in self._answers:
            met = self._resolved.met(raw, key, self.when[key])
            self._answers[place] = any(met)
            self._unmet -= {(key, i) for i, one in enumerate(met) if one}
            self._note(raw, key)
        return self._answers[place]

    def _note(self, raw: RawView, key: str) -> None:
        """Note a key that a cell has, with its value; else the keys that are near it."""
        value = self._resolved.value(raw, key)
        if value is ABSENT:
            self._names.setdefault(key, set()).update(self._resolved.known_keys(raw, key))
            return
        self._missing.discard(key)
        shown = [value.get("name"), value.get("label")] if key in PARTS else [value]
        self._have[key].update({_said(one): one for one in shown if one is not None or key not in PARTS})

    def check_sections(self, where: str) -> None:
        """Raise if a key names nothing in a section, whose keys are the same in all cells.

        Raises:
            BenchError: naming it, with the nearest match.
        """
        for key in self.when:
            if _place(key)[0] in SECTIONS and self._resolved.value({}, key) is ABSENT:
                raise self._no_key(where, key, self._resolved.known_keys({}, key))

    def check(self, where: str) -> None:
        """Raise if a key or a value of it stands for nothing in the grid.

        Raises:
            BenchError: naming it, with the nearest match.
        """
        for key in self.when:
            if key in self._missing:
                raise self._no_key(where, key, self._names.get(key, ()))
        for key, i in sorted(self._unmet):
            values = listed(self.when[key])
            none = all((key, k) in self._unmet for k in range(len(values)))
            wanted = (
                self.when[key] if none else values[i]
            )  # a list of which nothing is met may have been meant as a value
            raise BenchError(
                f"{where}: {self.name}: {key} {shown(wanted)} matches no cell of the grid{self._hint(key, wanted)}"
            )
        if not self.met:
            raise BenchError(f"{where}: {self.name}: {dict(self.when)} matches no cell of the grid")

    def _no_key(self, where: str, key: str, known: Any) -> BenchError:
        return BenchError(f"{where}: {self.name}.{key}: no cell of the grid has this key{nearest(key, sorted(known))}")

    def _hint(self, key: str, wanted: Any) -> str:
        """Return the nearest value that cells have, and what they have, as far as it is short."""
        have = self._have[key]
        near = (
            nearest(wanted, [one for one in have.values() if isinstance(one, str)]) if isinstance(wanted, str) else ""
        )
        more = ", …" if len(have) > _SHOWN else ""
        return f"{near}; cells have {', '.join(sorted(have)[:_SHOWN])}{more}" if have else near


def _said(value: Any) -> str:
    """Write a value as a grid would have it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _keys(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")
