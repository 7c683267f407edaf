"""What datasets contained, as the store keeps it by its hash: from that it is told what has changed since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.files import read_json, write_json

if TYPE_CHECKING:
    from datasets.content import Content


def content_path(store: Path, sha256: str) -> Path:
    """Return where the store keeps what a dataset contained."""
    return store / ".data" / f"{sha256}.json"


def keep_content(store: Path, content: Content) -> None:
    """Write a content into the store, unless it is there."""
    path = content_path(store, content.sha256)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content.as_json(), indent=None)


def kept_content(store: Path, sha256: str) -> Content | None:
    """Return what the store keeps under a hash; None where it has nothing that fits the hash."""
    from datasets.content import Content

    try:
        content = Content.from_json(read_json(content_path(store, sha256)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return content if content.sha256 == sha256 else None


def changes(store: Path, then: str, now: Content) -> str | None:
    """Return in words how data differ from those with the hash `then`; None where they are the same.

    Args:
        store: which may keep what the data contained then.
        then: a hash; "" where nothing was recorded, which differs from nothing.
        now: what the data contain.
    """
    if then in ("", now.sha256):
        return None
    return _between(kept_content(store, then), now)


def changes_between(store: Path, then: str, now: str) -> str:
    """Return in words how the data with the hash `now` differ from those with the hash `then`, as the store keeps them."""
    return _between(kept_content(store, then), kept_content(store, now))


def _between(then: Content | None, now: Content | None) -> str:
    from datasets.content import differences

    return "what differs isn't known" if then is None or now is None else differences(then, now)
