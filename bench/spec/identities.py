"""How two cells' identities differ, in words: why a run is no longer one of its grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.yaml import RawView

_WORDS = {"split": "the label split", "numerics_version": "the harness's numerics", "data": "the data"}


def changed(then: RawView, now: RawView) -> list[str]:
    """Return each difference in words: `optimizer.lr 0.01, now 0.02`, `the code of method mine`.

    Args:
        then, now: what :meth:`bench.spec.cell.Cell.identity` gives.
    """
    return list(_differences(then, now, ()))


def _differences(then: RawView, now: RawView, path: tuple[str, ...]) -> Iterator[str]:
    for key in dict.fromkeys([*now, *then]):
        old, new = then.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            if old.get("name") == new.get("name"):
                yield from _differences(old, new, (*path, key))
            else:
                yield f"{key} {_said(old.get('name'))}, now {_said(new.get('name'))}"
        elif key == "code":
            yield f"the code of plug-in {path[-1] if path else ''} {_said(then.get('name'))}".replace("  ", " ")
        elif not path and key in _WORDS:
            yield _WORDS[key]
        else:
            yield f"{'.'.join((*path, key))} {_said(old)}, now {_said(new)}"


def _said(value: Any) -> str:
    return "default" if value is None else str(value)
