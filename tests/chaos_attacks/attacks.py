"""The classes of attack, made of what the tests are made of."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.files import REPOSITORY
from bench.store.run import Run, State
from tests.bench.run import test_damage as damaged
from tests.bench.run.killing import run_in_child
from tests.damages import DAMAGES

Attack = Callable[[Path], object]
TRIES = 12  # kills in a row of one cell, at most
SECONDS = 60  # that a command may take


class Wrong(Exception):  # noqa: N818 (a finding, not a mistake)
    """A result differs, or what must be refused was accepted."""


def _compared(prepared: damaged.Prepared, run: Run, name: str) -> None:
    if prepared.files(run) != prepared.expected:
        raise Wrong(f"{name}: it differs from the undisturbed run")


def _shuffled(seed: int, attacks: list[tuple[str, Attack]]) -> Iterator[tuple[str, Attack]]:
    random.Random(seed).shuffle(attacks)
    return iter(attacks)


def killed(seed: int, place: Path) -> Iterator[tuple[str, Attack]]:
    """Yield runs that are killed (SIGKILL) at drawn points until one attempt comes to its end."""
    prepared, draw = damaged.Prepared(_made(place)), random.Random(seed)
    while True:
        kills = [(draw.choice(("step", "write", "evaluation", "matrices")), draw.randint(1, 5)) for _ in range(TRIES)]

        def attack(folder: Path, kills: list[tuple[str, int]] = kills) -> None:
            run, request = prepared.copy("killed", folder)
            job = damaged.jobs_of(request)[0]
            for point, number in kills:
                if run_in_child(job, point, number) == 0:
                    break
            assert run_in_child(job) == 0
            _compared(prepared, run, str(kills))

        yield str(kills[:3]), attack


def files(seed: int, place: Path) -> Iterator[tuple[str, Attack]]:
    """Yield every file of a run damaged in every way, the run half done and done, in a drawn order."""
    prepared = damaged.Prepared(_made(place))
    every: list[tuple[str, Attack]] = []
    for kind in DAMAGES:
        for file in (*damaged.BOOKKEEPING, *damaged.COUNTED_ON):
            every.append((f"half done: {file}: {kind}", partial(damaged.goes_on, prepared, files=[file], kind=kind)))
        for file in damaged.KEPT:
            every.append((f"done: {file}: {kind}", partial(damaged.stays_done, prepared, files=[file], kind=kind)))
        for file in damaged.LOST:
            every.append((f"done: {file}: {kind}", partial(damaged.is_damaged, prepared, file=file, kind=kind)))
    return _shuffled(seed, every)


def power(seed: int, place: Path) -> Iterator[tuple[str, Attack]]:
    """Yield power cuts: of files that nobody had synced any part of what came after the last sync is gone, or zeros."""
    prepared, draw = damaged.Prepared(_made(place)), random.Random(seed)
    for number in range(40):

        def attack(folder: Path, seed: int = draw.randint(0, 1 << 30)) -> None:
            run, request = prepared.copy("killed", folder)
            cut(run, random.Random(seed))
            assert damaged.again(request) == [State.DONE]
            _compared(prepared, run, f"seed {seed}")

        yield f"power cut {number}", attack


def cut(run: Run, draw: random.Random) -> None:
    """Take back what a power cut may: the ends of files that are appended to, and the last writes of unsynced ones."""
    for path in (run.metrics, run.timing, run.attempts, run.log):
        content = path.read_bytes()
        keep = draw.randint(0, len(content))
        path.write_bytes(content[:keep] + (b"" if draw.random() < 0.7 else bytes(len(content) - keep)))
    for path in (run.state, run.memory, run.lock):
        if draw.random() < 0.3:
            path.write_bytes(b"")
    (run.path / ".checkpoint.pt.0badcafe.tmp").write_bytes(draw.randbytes(500))


def disk(seed: int, place: Path) -> Iterator[tuple[str, Attack]]:
    """Yield disks (tmpfs) that fill up during a run, which goes on when there is space again; as root only."""
    prepared, draw = damaged.Prepared(_made(place)), random.Random(seed)
    for _ in range(12):

        def attack(folder: Path, kib: int = draw.randint(64, 3000)) -> None:
            folder.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
            try:
                run, request = prepared.copy("killed", folder)
                (folder / "filler").write_bytes(b"")
                free = shutil.disk_usage(folder).free
                with contextlib.suppress(OSError), (folder / "filler").open("wb") as file:
                    file.write(bytes(max(free - (kib << 10), 0)))
                (job,) = damaged.jobs_of(request)
                run_in_child(job)
                assert run.read_state()["state"] in ("failed", "done", "preempted"), run.read_state()
                (folder / "filler").unlink()
                if not run.is_done():
                    assert damaged.again(request) == [State.DONE]
                _compared(prepared, run, f"{kib} KiB")
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)

        yield "full disk", attack


WORDS = (
    *("", " ", "-", "--", "--json", "--store", "/dev/null", "/dev/zero", "/", "..", "\n", "a\nb", "\x1b[31m", "\udc80"),
    *(
        "x" * 5000,
        "💥",
        "[bold]",
        "{}",
        "%s%n",
        "'; rm -rf /",
        "-1",
        "1e400",
        "nan",
        "schedule.iterations=-1",
        "=",
        "a=",
    ),
    *("demo", "nowhere.yaml", "--set", "--only", "method=", "--data", "toy=/nowhere", "--format", "--for", "0s"),
)
VERBS = (
    *("plan", "status", "table", "plot", "run", "bundle", "merge", "describe", "evaluate", "split", "data", "weights"),
    *("list", "check", "tune", "memory", "logs", "cancel", "retry", "wait", "report", "nonsense", ""),
)


def commands(seed: int, place: Path) -> Iterator[tuple[str, Attack]]:
    """Yield hostile command lines: each ends within a minute, with a code that means something and without a traceback."""
    draw = random.Random(seed)
    _made(place)
    while True:
        words = [draw.choice(VERBS), *(draw.choice(WORDS) for _ in range(draw.randint(0, 4)))]
        if words[0] == "run" and "demo" in words:
            continue  # that is a command line like any other

        def attack(folder: Path, words: list[str] = words) -> None:
            folder.mkdir(parents=True)
            done = subprocess.run(
                [sys.executable, str(REPOSITORY / "bench.py"), *map(os.fsencode, words)],
                cwd=folder,
                env={**os.environ, "BENCH_STORE": str(folder / "store")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
            )
            assert b"Traceback" not in done.stderr + done.stdout, done.stderr[-300:]
            assert done.returncode in (0, 1, 2), done.returncode

        yield shlex.join(word[:40] for word in words).encode("ascii", "replace").decode(), attack


ARCHIVES = ("tests/bench/store/bundle/test_attacks.py", "tests/datasets/official/test_archives.py")


def archives(seed: int, place: Path) -> Iterator[tuple[str, Attack]]:
    """Yield bundles and datasets' archives that were forged, or whose members lead out of their folder: the tests' own."""
    names = list[str]()

    class Names:
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            names.extend(item.nodeid for item in items)

    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", *ARCHIVES], [Names()])
    every = list(names)

    def attack(_: Path, name: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = pytest.main(["-q", "-p", "no:cacheprovider", name])
        if code != 0:
            raise Wrong(said.getvalue()[-300:])

    return _shuffled(seed, [(name, partial(attack, name=name)) for name in every])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


ATTACKS: dict[str, Callable[[int, Path], Iterator[tuple[str, Attack]]]] = {
    "killed": killed,
    "damaged": files,
    "power cut": power,
    "full disk": disk,
    "command line": commands,
    "archive": archives,
}
