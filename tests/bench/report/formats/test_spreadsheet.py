"""What a spreadsheet would take for a formula is text in CSV; numbers are left alone."""

from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd
import pytest

from bench.report.formats.spreadsheet import as_text, frame_csv

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "=", "-", "- item", "+4 more", "-1 ", "-x", "-1; =1"]
OTHERS: list[Any] = ["", "a=1", "'=1", " =1", "1e-3", "-0.5", "+2", "-1e5", "-inf", "-2.4; 6.5", -0.5, 7, None, True]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_has_an_apostrophe_before_it(text: str) -> None:
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("value", OTHERS)
def test_numbers_and_other_texts_are_left_alone(value: Any) -> None:
    assert as_text(value) is value


def test_a_frame_is_escaped_in_its_texts_and_column_names_alone() -> None:
    frame = pd.DataFrame({"=a": [-1.5, 2.0], "b": ["=1+1", None], "c": ["-3", "-x"], "d": [-1, -2], "e": [None, True]})
    rows = list(csv.reader(io.StringIO(frame_csv(frame))))
    assert rows == [["'=a", "b", "c", "d", "e"], ["-1.5", "'=1+1", "-3", "-1", ""], ["2.0", "", "'-x", "-2", "True"]]
    assert frame_csv(frame, raw=True) == frame.convert_dtypes().to_csv(index=False)
    assert list(frame.columns) == ["=a", "b", "c", "d", "e"]
