"""Paths in which neither Slurm nor submitit sees a pattern, whatever the store's is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from bench.errors import BenchError

# Slurm replaces `%j`, and reads a backslash as "no patterns"; submitit replaces `%j` in folders too; a colon divides
# PYTHONPATH.
_PLAIN = re.compile(r"[A-Za-z0-9_@+=,./ -]+")


def plain(path: Path, *, link: bool = True) -> Path:
    """Return an absolute path to the same place whose parts have no character with a meaning.

    A part that has one is reached through a link beside it, ``.bench-<hash>``, so every node that sees the path sees the
    link as well.

    Args:
        path: under the store.
        link: make the links that are needed; False only names them.

    Raises:
        BenchError: if a link can't be made.
    """
    path = path.absolute()
    odd = next((place for place, part in enumerate(path.parts) if not _PLAIN.fullmatch(part)), None)
    if odd is None:
        return path
    outer, part = Path(*path.parts[:odd]), path.parts[odd]
    alias = outer / f".bench-{hashlib.sha256(part.encode(errors='surrogateescape')).hexdigest()[:8]}"
    if link and not alias.is_symlink():
        try:
            alias.symlink_to(part)
        except FileExistsError:  # another submission was faster
            pass
        except OSError as error:
            why = (
                f"Slurm takes characters of '{part}' for a pattern, and no link can stand beside it ({error.strerror})"
            )
            raise BenchError(f"{path}: {why}: choose another --store") from None
    return plain(alias.joinpath(*path.parts[odd + 1 :]), link=link)
