"""``make chaos``: one line per class of attack, with how many were tried, survived, lost and wrong.

*Lost* is an attack after which a cell never ends, or a command ends in a traceback or not at all; *wrong*, one after which a
result differs from the undisturbed one, or something is accepted that must not be. Exit code 1 where either isn't 0.

    python -m tests.chaos_attacks [--seed 0] [--minutes 14] [--only damaged,killed]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos_attacks.attacks import ATTACKS, Attack, Wrong


def outcome(attack: Attack, folder: Path) -> tuple[str, str]:
    """Try an attack in a folder of its own; return `survived`, `lost` or `wrong`, and why."""
    try:
        attack(folder)
    except Wrong as error:
        return "wrong", str(error)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "lost", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return "survived", ""


@contextlib.contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Write into a file what this process and its children say on standard error: attacked runs say much."""
    before = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def main() -> int:
    """Try all classes; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=14.0)
    parser.add_argument("--only", default=",".join(ATTACKS))
    asked = parser.parse_args()
    names = asked.only.split(",")
    bad = 0
    print(f"{'attack':12} {'tried':>6} {'survived':>9} {'lost':>5} {'wrong':>6}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as place, quiet(Path(place) / "said"):
        os.environ["BENCH_CACHE"] = f"{place}/cache"
        for name in names:
            counts = {"survived": 0, "lost": 0, "wrong": 0}
            said = list[str]()
            end = time.monotonic() + 60 * asked.minutes / len(names)
            for number, (what, attack) in enumerate(_within(ATTACKS[name](asked.seed, Path(place) / name), end)):
                verdict, why = outcome(attack, Path(place) / name / str(number))
                counts[verdict] += 1
                said += [f"  {verdict}: {what}: {why}"] if why else []
            tried = sum(counts.values())
            numbers = f"{tried:6} {counts['survived']:9} {counts['lost']:5} {counts['wrong']:6}"
            print("\n".join([f"{name:12} {numbers}", *said]), flush=True)
            bad += counts["lost"] + counts["wrong"] + (tried == 0)
    return 1 if bad else 0


def _within(attacks: Iterator[tuple[str, Attack]], end: float) -> Iterator[tuple[str, Attack]]:
    for one in attacks:
        yield one
        if time.monotonic() > end:
            return


if __name__ == "__main__":
    sys.exit(main())
