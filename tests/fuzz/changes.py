"""What may have happened to a file from outside: values replaced at any depth, keys gone, bytes changed."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("BENCH_FUZZ", "0"))
SECONDS = 60  # of one example, after which it hangs


def budget(examples: int) -> settings:
    """Return settings for so many examples, always the same ones; `make fuzz` tries BENCH_FUZZ others instead."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def in_bounded_time() -> Iterator[None]:
    """Raise where what is within takes too long; a C library that never returns isn't stopped."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "../x",
            "/etc/passwd",
            "a\0b",
            "\ud800",
            "=1+1",
            "1e999",
            "null",
            "9" * 400,
            "x" * 9000,
            "\n",
            "[",
            "nan",
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30, 10**400]),
    st.sampled_from([0.5, -0.0, 1e-320, 1e308, 1e30, float("nan"), float("inf"), float("-inf")]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


@st.composite
def changed(draw: st.DrawFn, base: Any) -> Any:
    """Draw a JSON value that differs from another one in a few places, or is something else altogether."""
    found = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_places(found))))
        if not path:
            return draw(VALUES)
        node = found
        for key in path[:-1]:
            node = node[key]
        if isinstance(node, dict) and draw(st.booleans()):
            value = node.pop(path[-1])
            if draw(st.booleans()):
                node[draw(TEXTS)] = value
        else:
            node[path[-1]] = draw(VALUES)
    return found


def as_bytes(value: Any) -> bytes:
    """Return JSON as Python writes it, NaN and lone surrogates included."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


@st.composite
def garbled(draw: st.DrawFn, base: bytes) -> bytes:
    """Draw bytes that are others cut short, with some replaced, repeated or put in; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=64))
    found = bytearray(base)
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(found))), draw(st.integers(0, 16))
        kind = draw(st.sampled_from(["cut", "replace", "insert", "remove", "repeat"]))
        if kind == "cut":
            del found[at:]
        elif kind == "repeat":
            found[at:at] = found[at : at + size] * 20
        else:
            new = b"" if kind == "remove" else draw(st.binary(min_size=1, max_size=8))
            found[at : at if kind == "insert" else at + size] = new
    return bytes(found)


def files(base: bytes) -> st.SearchStrategy[bytes]:
    """Return what may have become of a file of JSON."""
    return st.one_of(changed(json.loads(base)).map(as_bytes), garbled(base))


def lines(base: bytes) -> st.SearchStrategy[bytes]:
    """Return what may have become of a file of JSON lines."""
    rows = [json.loads(line) for line in base.splitlines()]
    return st.one_of(
        changed(rows).map(lambda v: b"".join(as_bytes(row) + b"\n" for row in (v if isinstance(v, list) else [v]))),
        garbled(base),
    )
