"""Text on its way out: replaced where an encoding lacks a character, and free of commands to a terminal."""

from __future__ import annotations

import json

import pytest

from bench.text import ESCAPE, fitting, like, without_commands

ALL = "mIoU 51.3 ± 1.3, λ≥0.5 → “soft”… café Ünïcode ß 中文 🎉 \udce9 −1 × 2² Λ"


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "cp1252", "koi8-r", "utf-8", None])
def test_any_text_can_be_written_in_any_encoding(encoding: str | None) -> None:
    assert fitting(ALL, encoding).encode(encoding or "utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "utf-8"])
def test_json_stays_what_it_was(encoding: str) -> None:
    text = json.dumps({"title": ALL}, ensure_ascii=False)
    assert json.loads(fitting(text, encoding, ESCAPE)) == {"title": ALL}


@pytest.mark.parametrize(
    ("character", "text"),
    [*zip("±–−×→≥λΛéß²中", ("+/-", "-", "-", "x", "->", ">=", "lamda", "Lamda", "e", "ss", "2", "?"), strict=True)],
)
def test_what_is_replaced_looks_or_reads_alike(character: str, text: str) -> None:
    assert like(character) == text


def test_what_an_encoding_has_is_kept() -> None:
    assert fitting("51.3 ± 1.3 – café", "iso8859-1") == "51.3 ± 1.3 - café"
    assert fitting("51.3 ± 1.3 – café", "utf-8") == "51.3 ± 1.3 – café"


def test_commands_to_a_terminal_are_shown_and_not_carried_out() -> None:
    hostile = "a\x1b[31mred\x1b[0m\x07\r\x9b2J\x7f\u202eevil\u2066"
    shown = without_commands(hostile)
    assert shown == "a\ufffd[31mred\ufffd[0m\ufffd\ufffd\ufffd2J\ufffd\ufffdevil\ufffd"
    assert without_commands("two\nlines\tand a tab – é") == "two\nlines\tand a tab – é"
