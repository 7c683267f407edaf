"""The base of every config section: frozen, typed, and strict about keys."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from bench.bounds import LARGEST
from bench.text import shown

_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")


@lru_cache(maxsize=1024)
def _types(annotation: Any) -> frozenset[Any]:
    """Return what a field may be: the members of a union, without their constraints; of a Literal, its values' types."""
    if get_origin(annotation) is Literal:
        return frozenset(map(type, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return frozenset().union(*map(_types, get_args(annotation)))
    return frozenset([annotation])


def _check_meant(annotation: Any, value: Any) -> None:
    """Refuse words and numbers for a truth value, a truth value for a number, and a number that may be octal.

    Raises:
        ValueError: saying what to write.
    """
    types = _types(annotation)
    numbers = bool(types & {int, float})
    if isinstance(value, bool):
        if numbers and bool not in types:
            raise ValueError(f"expected a number, not {str(value).lower()}")
    elif bool in types and not numbers and isinstance(value, (int, float) if str in types else (int, float, str)):
        raise ValueError(f"write true or false, not {shown(value)}")
    elif numbers and str not in types and isinstance(value, str) and _LEADING_ZERO.fullmatch(value):
        raise ValueError(f"{value} has a leading zero, which some read as octal: write {int(value)}")


def _check_magnitude(value: Any, largest: float) -> None:
    """Refuse a number beyond what is used anywhere, also within lists.

    Raises:
        ValueError: naming the limit.
    """
    if isinstance(value, (list, tuple)):
        for one in value:
            _check_magnitude(one, largest)
    elif isinstance(value, (int, float)) and largest < abs(value) < math.inf:
        raise ValueError(f"at most {largest:.0e} can be meant, not {shown(value)}")


class Config(BaseModel):
    """A section of the spec. Unknown keys, NaN and wrong types are errors; instances never change.

    A field's ``json_schema_extra`` may say how it takes part in a cell's id: ``{"identity": False}`` not at all (a path, a
    batch size of the evaluation); ``{"identity": "non-default"}`` only where it differs from its default, which is how a
    field is added without moving the ids of all earlier runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)
    # From which values a method's own options are drawn where a grid is tuned, by option (see ``bench/spec/tune.py``).
    ranges: ClassVar[dict[str, dict[str, Any]]] = {}
    largest_number: ClassVar[float] = LARGEST  # of numbers that have no bound of their own

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would silently become another type than the one that is written: `on` or 1 True, and True 1."""
        _check_meant(cls.model_fields[str(info.field_name)].annotation, value)
        _check_magnitude(value, cls.largest_number)
        return value

    def needed_files(self) -> dict[str, str]:
        """Return the files beside the dataset that a run reads at its start: for each path, what to do where it isn't there.

        By default there are none.
        """
        return {}

    def needed_modules(self) -> tuple[str, ...]:
        """Return modules that take seconds to import and that a run will use, so that several cells import them once.

        By default there are none.
        """
        return ()

    def __hash__(self) -> int:
        """Hash by value; a field that can't be hashed, such as a plug-in's list, counts by its JSON."""
        values = tuple(getattr(self, name) for name in type(self).model_fields)
        try:
            return hash((type(self), values))
        except TypeError:
            return hash((type(self), self.model_dump_json()))

    def identity(self) -> dict[str, Any]:
        """Return what identifies a result, as JSON types."""
        dump = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            rule = field.json_schema_extra.get("identity", True) if isinstance(field.json_schema_extra, dict) else True
            if rule is False or (rule == "non-default" and getattr(self, name) == field.get_default()):
                del dump[name]
        for name, value in self:
            if isinstance(value, Config) and name in dump:
                dump[name] = value.identity()
        return dump
