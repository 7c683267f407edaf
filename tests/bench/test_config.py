"""A section of the spec takes what is written, and nothing that would silently become something else."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, PositiveInt, ValidationError

from bench.config import Config


class Options(Config):
    """One field of each kind."""

    flag: bool = True
    maybe: bool | None = None
    count: PositiveInt = 1
    rate: float | None = Field(default=0.5, ge=0)
    either: int | bool = 0
    word: str = "a"
    stride: Literal[1, 16] = 16
    mode: Literal[False, True, "fast"] = False
    text_or_number: str | int = ""


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *[("flag", value, "write true or false") for value in ("on", "off", "yes", "no", "true", "y", 1, 0, 1.0)],
        ("maybe", "off", "write true or false"),
        ("mode", 1, "write true or false"),
        ("count", True, "expected a number, not true"),
        ("rate", False, "expected a number, not false"),
        ("stride", True, "expected a number, not true"),
        ("count", "010", "010 has a leading zero, which some read as octal: write 10"),
        ("rate", "-007", "write -7"),
        ("word", 1.1, "valid string"),
        ("rate", float("nan"), "finite"),
        ("rate", float("inf"), "finite"),
    ],
)
def test_what_would_become_another_type_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({field: value})


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        *[("flag", False, False), ("maybe", None, None), ("mode", "fast", "fast"), ("mode", True, True)],
        *[("either", True, True), ("either", 3, 3), ("word", "on", "on"), ("text_or_number", "010", "010")],
        *[("count", 1e2, 100), ("count", "5", 5), ("rate", 0, 0.0), ("rate", "0", 0.0), ("stride", 1, 1)],
    ],
)
def test_what_is_meant_is_taken(field: str, value: Any, kept: Any) -> None:
    found = getattr(Options.model_validate({field: value}), field)
    assert found == kept and type(found) is type(kept)
