"""The code of a plug-in: its file and what it imports count, where they lie and what is installed don't."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import plugin_code, registry
from bench.errors import BenchError
from bench.spec.cell import resolve_part

PLUGIN = '''
import numpy as np
from bench.registry import register
from methods.student import StudentMethod
from methods.supervised import SupervisedConfig
{more}

@register("method", "{name}")
class Mine(StudentMethod):
    """Its own."""
    Config = SupervisedConfig
    {body}
    factor = 0.1
'''


def load(path: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: str = "", body: str = "") -> str | None:
    path.write_text(PLUGIN.format(name=name, more=more, body=body))
    monkeypatch.setenv("BENCH_PLUGINS", str(path))
    plugin_code.code_hash.cache_clear()
    registry._load_plugins()
    assert str(path) not in registry.failures
    return registry.code_of("method", name)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules plug-ins can import."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_helper_module.py").write_text("import own_second_module\n")
    (tmp_path / "own_second_module.py").write_text("VALUE = 1\n")
    yield tmp_path
    for name in ("own_helper_module", "own_second_module"):
        sys.modules.pop(name, None)


def test_a_plug_ins_code_is_part_of_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = load(tmp_path / "a.py", monkeypatch, "mine-a")
    assert code is not None and resolve_part("method", "mine-a", "method").identity()["code"] == code
    assert "code" not in resolve_part("method", "supervised", "method").identity()
    assert "code" not in resolve_part("dataset", "synthetic", "dataset").identity()  # its content counts
    assert load(tmp_path / "b.py", monkeypatch, "mine-a2", body="more = 1") != code


def test_what_a_plug_in_imports_counts_and_its_place_does_not(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "def f():\n    import own_helper_module\n", "# another place\n"
    (beside / "a.py").write_text(first)
    (beside / "sub").mkdir()
    (beside / "sub" / "c.py").write_text(first)
    (beside / "b.py").write_text(second)
    hashes = [plugin_code.code_hash(beside / name) for name in ("a.py", "sub/c.py", "b.py")]
    assert hashes[0] == hashes[1] != hashes[2]
    plugin_code.code_hash.cache_clear()
    (beside / "own_second_module.py").write_text("VALUE = 2\n")
    assert plugin_code.code_hash(beside / "a.py") != hashes[0]
    assert plugin_code.code_hash(beside / "b.py") == hashes[2]


def test_an_author_can_say_that_a_change_moves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(tmp_path / "a.py", monkeypatch, "mine-b")
    after = load(tmp_path / "b.py", monkeypatch, "mine-c", body=f'same_results_as = "{before}"')
    assert after == before
    with pytest.raises(BenchError, match="same_results_as must be the 16 hexadecimal digits"):
        load(tmp_path / "c.py", monkeypatch, "mine-d", body='same_results_as = "yesterday"')
