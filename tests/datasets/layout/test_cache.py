"""The cache on disk: used where it fits, ignored where it doesn't, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.files import cache_dir
from datasets.layout.cache import Presence, cached_presence, presence_key

IDS = ("a", "b")
PRESENCE = {"a": frozenset({0, 2}), "b": frozenset[int]()}


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Presence:
        self.calls += 1
        return PRESENCE


def test_computed_once() -> None:
    compute = Counted()
    assert [cached_presence("k", IDS, compute) for _ in range(3)] == [PRESENCE] * 3
    assert compute.calls == 1
    assert cached_presence("other", IDS, compute) == PRESENCE
    assert compute.calls == 2
    assert sorted(p.name for p in (cache_dir() / "presence").iterdir()) == ["k.json", "other.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": [0]}', b'{"a": 1, "b": 2}', b'{"a": ["x"], "b": []}', b"\xff"]
)
def test_a_damaged_cache_is_computed_anew(content: bytes) -> None:
    compute = Counted()
    path = cache_dir() / "presence" / "k.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert cached_presence("k", IDS, compute) == PRESENCE
    assert cached_presence("k", IDS, compute) == PRESENCE
    assert compute.calls == 1


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    assert cached_presence("k", IDS, Counted()) == PRESENCE


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "semisegbench"


def test_a_presence_is_another_one_for_other_masks_sizes_or_classes() -> None:
    keys = [
        presence_key(["a.b", "c.d"], None, 3),
        presence_key(["a.b", "c.e"], None, 3),
        presence_key(["c.d", "a.b"], None, 3),
        presence_key(["a.b", "c.d"], (8, 8), 3),
        presence_key(["a.b", "c.d"], None, 4),
    ]
    assert len(set(keys)) == len(keys)
    assert presence_key(["a.b", "c.d"], None, 3) == keys[0]
