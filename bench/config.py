"""The base of every config section: frozen, typed, and strict about keys."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A section of the spec. Unknown keys, NaN and wrong types are errors; instances never change.

    A field's ``json_schema_extra`` may say how it takes part in a cell's id: ``{"identity": False}`` not at all (a path, a
    batch size of the evaluation); ``{"identity": "non-default"}`` only where it differs from its default, which is how a
    field is added without moving the ids of all earlier runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

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
