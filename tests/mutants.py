"""Prints the mutation score of each file, as `make mutants` found it, and keeps it in results/measured.

python -m tests.mutants
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from bench.files import REPOSITORY

FOLDER = REPOSITORY / "mutants"
KEPT = REPOSITORY / "results/measured/mutation-score.md"
# Exit codes of the tests of a mutant, as mutmut keeps them; any other one is a failure, a time-out or a crash.
SURVIVED, UNTESTED = 0, (5, 33)
HEAD = """# Mutation score

`make mutants` (mutmut): one operator, constant or argument of the code is changed at a time; the tests beside it must fail.
A mutant that no test notices survives; one that no test reaches isn't tested. Many of those that survive compute the same.

| file | mutants | killed | survived | no test reaches | not tried yet | killed of those tried |
|---|---:|---:|---:|---:|---:|---:|
"""


def outcomes(folder: Path) -> dict[str, Counter[str]]:
    """Return how many mutants of each file ended in which way."""
    found: dict[str, Counter[str]] = {}
    for path in sorted(folder.rglob("*.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"].values()
        name = str(path.relative_to(folder)).removesuffix(".meta")
        found[name] = Counter(map(_outcome, codes))
    return {name: counted for name, counted in found.items() if counted}


def _outcome(code: int | None) -> str:
    if code is None:
        return "untried"
    return "survived" if code == SURVIVED else "untested" if code in UNTESTED else "killed"


def table(found: dict[str, Counter[str]]) -> str:
    """Return a row per file, and one for all."""
    rows = [*found.items(), ("all", sum(found.values(), Counter()))]
    return "".join(
        f"| `{name}` | {counted.total()} | {counted['killed']} | {counted['survived']} | {counted['untested']} "
        f"| {counted['untried']} | {_score(counted)} |\n"
        for name, counted in rows
    )


def _score(counted: Counter[str]) -> str:
    tried = counted.total() - counted["untried"]
    return f"{100 * counted['killed'] / tried:.0f} %" if tried else "–"


def main() -> None:
    """Print the table, and keep it."""
    text = HEAD + table(outcomes(FOLDER))
    KEPT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
