"""The base of every config section: frozen, typed, and strict about keys."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A section of the spec. Unknown keys, NaN and wrong types are errors; instances never change.

    A field whose ``json_schema_extra`` says ``{"identity": False}`` (a path, a cache size) is not part of a cell's id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    def identity(self) -> dict[str, Any]:
        """Return what identifies a result: every field but those marked ``{"identity": False}``, as JSON types."""
        fields = type(self).model_fields
        skip = {
            name
            for name, field in fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("identity") is False
        }
        return self.model_dump(mode="json", exclude=skip)
