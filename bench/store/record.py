"""What types the facts of a run's state have: a file that says otherwise isn't what was written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_WHOLE: tuple[type[Any], ...] = (int,)
_NUMBER: tuple[type[Any], ...] = (int, float)
_TEXT, _TEXTS = (str,), (list,)
_TYPES: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(("step", "from_step", "attempt", "array", "index", "moves", "iterations"), _WHOLE),
    **dict.fromkeys(("it_per_s", "miou", "time"), _NUMBER),
    **dict.fromkeys(("reason", "host", "node", "submission", "fault"), _TEXT),
    **dict.fromkeys(("hardware", "codes", "set_aside"), _TEXTS),
}
LARGEST = 1e15  # above any number in a record: steps, seconds since the epoch


def wrong_in(record: Mapping[str, Any], states: Collection[str]) -> str:
    """Return in words what is wrong with the content of state.json; "" where nothing is. It may have other keys, too."""
    state = record.get("state")
    if not isinstance(state, str) or state not in states:
        return "no state is named"
    for key, types in _TYPES.items():
        value: Any = record.get(key)
        if value is None:
            continue
        if not isinstance(value, types) or (isinstance(value, list) and not all(isinstance(one, str) for one in value)):
            return f"'{key}' is of the wrong type"
        if isinstance(value, int | float) and not 0 <= value <= LARGEST:
            return f"'{key}' is no number that can be"
    return ""
