"""Writing a proposal: the block and the lists, nothing that is there already."""

from __future__ import annotations

from pathlib import Path

import yaml

from bench.errors import BenchError
from bench.files import write_if_changed
from datasets.proposal.propose import BLOCK, LISTS, Proposal

_HEADER = "# What the folder looks like to `bench.py data init`: check it, and name the classes. Of a grid's recipe.\n"


def write_proposal(root: Path, proposal: Proposal, force: bool = False) -> Path:
    """Write the block and the lists into the folder; return the block's file.

    Raises:
        BenchError: if one of the files is there with other content, unless `force`; nothing is written then.
    """
    path = root / BLOCK
    block = yaml.safe_dump({"dataset": proposal.block}, sort_keys=False, allow_unicode=True, width=120)
    files = {root / LISTS / f"{split}.txt": "".join(f"{i}\n" for i in ids) for split, ids in proposal.lists.items()}
    files[path] = _HEADER + block
    other = [str(p) for p, text in files.items() if p.exists() and p.read_bytes() != text.encode()]
    if other and not force:
        raise BenchError(f"{', '.join(other)}: there already, with other content; move it away, or give --force")
    for where, text in files.items():
        write_if_changed(where, text.encode())
    return path
