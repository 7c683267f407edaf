"""Validation errors as one clear line: file, path of the key, what is wrong, what is allowed, the nearest match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import BenchError, nearest
from bench.text import cut, shown

M = TypeVar("M", bound=BaseModel)
_PROBLEMS = 20  # of a section that one message names


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Return the keys that are allowed beside the last key of `path`."""
    for key in path[:-1]:
        field = model.model_fields.get(str(key))
        inner = field.annotation if field is not None else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return sorted(model.model_fields)


def _sentence(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    path = error["loc"]
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(model, path)
        return f"unknown key{nearest(str(path[-1]), allowed)}; allowed: {', '.join(allowed) or 'none'}"
    if error["type"] == "missing":
        return "this key is required"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    text = str(error["msg"])
    if error["type"] == "literal_error":
        text += nearest(str(error["input"]), [w.strip("' ") for w in error["ctx"]["expected"].split(",")])
    return f"{text[0].lower()}{text[1:]}, not {shown(error['input'])}"


def _more(problems: int) -> str:
    return f"; and {problems} more problems" if problems > 0 else ""


def validate(model: type[M], data: Any, where: str) -> M:
    """Return `data` as `model`.

    Args:
        model: the pydantic model.
        data: what was read from the file.
        where: file and path of the section, e.g. ``grid.yaml: recipe.schedule``.

    Raises:
        BenchError: one line that names every problem of the section.
    """
    if data is not None and not isinstance(data, Mapping):
        raise BenchError(f"{where.removesuffix(': ')}: expected keys and values, not {shown(data)}")
    try:
        return model.model_validate(data or {})
    except ValidationError as error:
        joint = "" if where.endswith(": ") else "."
        lines = []
        for e in error.errors():
            path = ".".join(cut(str(k)) for k in e["loc"])
            lines.append(f"{where}{joint if path else ''}{path}: {_sentence(model, e)}")
        raise BenchError("; ".join(lines[:_PROBLEMS]) + _more(len(lines) - _PROBLEMS)) from None


def one_line(error: ValidationError) -> str:
    """Return what is wrong with a file that the harness itself wrote, in one line."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
