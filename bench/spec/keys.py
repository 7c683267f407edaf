"""Every key that a grid can have, read off the models that validate it: type, default, meaning, part of the id or not."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bench import registry
from bench.config import Config
from bench.spec.cell import PARTS, SECTIONS
from bench.spec.grid import Grid

Identity = Literal["yes", "unless default", "no"]
_SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    NoneType: "null",
    Any: "anything",
    dict: "keys and values",
}
_NAMES = re.compile(r"`{0,2}\w+`{0,2}(?:, `{0,2}\w+`{0,2})*")
_SEE = re.compile(r"see `(\w+)`\.?")  # a class, by whose docstring the words are replaced
_ROLE = re.compile(r":\w+:`")  # of reStructuredText


@dataclass(frozen=True)
class Key:
    """A key of a grid.

    Attributes:
        key: dotted, as ``--set`` and axes take it; ``[]`` stands for an entry of a list.
        of: whose option it is, such as ``classmix``; "" where the key is every grid's.
        type: in words, with bounds.
        default: as it would be written, ``required`` where there is none.
        identity: whether it is part of a cell's id.
        about: what it means, in one line.
    """

    key: str
    of: str
    type: str
    default: str
    identity: Identity
    about: str


def grid_keys() -> Iterator[Key]:
    """Yield the keys of a grid's file, those of its recipe, and the options of every registered part, plug-ins included."""
    yield from _fields(Grid, "", "", own_identity=False)
    yield Key("seed", "", _WORDS[int], "0", "yes", "sets `seeds.split`, `seeds.init` and `seeds.data` alike")
    for name, model in SECTIONS.items():
        yield from _fields(model, f"{name}.", "")
    for kind in PARTS:
        for entry in registry.entries(kind):
            yield Key(f"{kind}.name", entry.name, entry.name, "required", "yes", entry.summary)
            yield from _fields(entry.cls.Config, f"{kind}.", entry.name)


def _fields(model: type[Config], prefix: str, of: str, own_identity: bool = True) -> Iterator[Key]:
    about = _described(model)
    for name, field in model.model_fields.items():
        identity = _identity(field) if own_identity else "no"
        yield Key(f"{prefix}{name}", of, _type(field), _default(field), identity, about.get(name, ""))
        for inner, step in _inner(field.annotation):
            yield from _fields(inner, f"{prefix}{name}{step}.", of, own_identity and identity != "no")


def _identity(field: FieldInfo) -> Identity:
    extra = field.json_schema_extra
    rule = extra.get("identity", True) if isinstance(extra, dict) else True
    return "no" if rule is False else "unless default" if rule == "non-default" else "yes"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Config):
        return ""  # its own keys have theirs
    return value if isinstance(value, str) and value else json.dumps(value, default=str, ensure_ascii=False)


# -- types -----------------------------------------------------------------------------------------------------------------


def _inner(annotation: Any) -> Iterator[tuple[type[Config], str]]:
    """Yield the sections that a type holds, and what stands for an entry of it in a dotted key."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation, ""
    elif origin is Annotated:
        yield from _inner(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from _inner(one)
    elif origin in (list, tuple):
        for inner, step in _inner(get_args(annotation)[0]):
            yield inner, f"[]{step}"
    elif origin is dict:
        for inner, step in _inner(get_args(annotation)[1]):
            yield inner, f".NAME{step}"


def _type(field: FieldInfo) -> str:
    return _bounded(_in_words(field.annotation), field.metadata)


def _in_words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(value if isinstance(value, str) else json.dumps(value) for value in inner)
    if origin is Annotated:
        return _bounded(_in_words(inner[0]), inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(_in_words(one) for one in inner)
    if origin is tuple and Ellipsis not in inner:
        return f"[{', '.join(map(_in_words, inner))}]"
    if origin in (tuple, list):
        return f"list of: {_in_words(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return "keys"
    return _WORDS.get(origin or annotation) or str(getattr(annotation, "__name__", annotation))


def _bounded(words: str, metadata: Any) -> str:
    """Add what is asked of a number: `whole number ≥ 2, ≤ 16384`."""
    found = dict[str, str]()
    for one in metadata:
        if isinstance(one, FieldInfo):
            return _bounded(_bounded(words, [m for m in metadata if m is not one]), one.metadata)
        for bound, symbol in _SYMBOLS.items():
            if (limit := getattr(one, bound, None)) is not None and "number" in words:
                found[bound] = f"{symbol} {limit:g}"
    if not found:
        return words
    return f"{words}{',' if any(symbol in words for symbol in _SYMBOLS.values()) else ''} {', '.join(found.values())}"


# -- descriptions ----------------------------------------------------------------------------------------------------------


def _described(model: type[Config]) -> dict[str, str]:
    """Return what the docstrings of a model and of those that it is made from say of its fields, each in one line."""
    found = dict[str, str]()
    for cls in reversed(model.__mro__):
        if issubclass(cls, Config):
            found |= _attributes(inspect.cleandoc(vars(cls).get("__doc__") or ""))
    for name, text in found.items():
        if see := _SEE.match(text):
            found[name] = _of_class(see[1]).get(name, "").rstrip(".") + text[see.end() :]
    return found


def _of_class(name: str) -> Mapping[str, str]:
    return next((_described(model) for model in SECTIONS.values() if model.__name__ == name), {})


def _attributes(text: str) -> dict[str, str]:
    """Read the paragraph ``Attributes:`` of a docstring: ``name, other: text``, continued in lines that are deeper."""
    found, names = dict[str, str](), list[str]()
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == "Attributes:":
            break
    for line in lines:
        if line and not line.startswith(" "):
            break
        key, colon, rest = line.strip().partition(": ")
        if colon and line.startswith("    ") and not line.startswith("     ") and _NAMES.fullmatch(key):
            names = [name.strip(" `") for name in key.split(",")]
            found |= dict.fromkeys(names, rest)
        else:
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return {name: _ROLE.sub("`", text.replace("``", "`")) for name, text in found.items()}
