"""Text as LaTeX: every character that a label may hold becomes what pdflatex's kernel knows."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from bench.report.formats.latex_text import escape

GREEK = "αβγδεζηθικλμνοπρστυφχψωςϑϕϖϱϵΓΔΘΛΞΠΣΥΦΨΩΑΒΕΖΗΙΚΜΝΟΡΤΧµΩ"
SIGNS = "±∓−×÷≤≥≠≈≡∼∝∈∉⊂⊆∪∩∅∞∂∇∑∏∫√∀∃¬∧∨⊕⊗→←↔⇒⇐⇔↦↑↓⟨⟩⌈⌉⌊⌋‖′ℓ⋯✓✗≪≫∘·⋅∗"
RAISED = "²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿᵀ₀₁₂₃₄₅₆₇₈₉₊₋ᵢₙ"
LETTERS = "éèêëñçåøæœßłđðþąęőűşţžščřůīāăėįķļņģȷıÅÉÖÜÆØŁĐÐÞ"
TYPE = "–—…‘’“”„‚«»‹›•§¶†‡©®™£€¥°½¼¾‰№ªº¿¡\u00a0\u2009\u202f\u00ad‐‑"
BEYOND = "中文Приветالعربية🎉ℝ𝒟ﬁ①"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("ReCo λ=0.5 → soft", r"ReCo $\lambda$=0.5 $\rightarrow$ soft"),
        ("τ≥0.9, α∈β", r"$\tau$$\ge$0.9, $\alpha$$\in$$\beta$"),
        ("RC²L", r"RC\textsuperscript{2}L"),
        ("10⁻³ xᵢ", r"10\textsuperscript{$-$}\textsuperscript{3} x\textsubscript{i}"),
        ("ε ϵ φ ϕ ς Ω Α ο", r"$\varepsilon$ $\epsilon$ $\varphi$ $\phi$ $\varsigma$ $\Omega$ A o"),
        ("é ñ ç ő í Å ß", r"\'{e} \~{n} \c{c} \H{o} \'{\i} \AA{} \ss{}"),
        ("ą", r"{\fontencoding{T1}\selectfont\k{a}}"),
        ("“a” – b--c…", r"\textquotedblleft{}a\textquotedblright{} \textendash{} b-{}-c\ldots{}"),
        ("½ ﬁ 𝒟", "1/2 fi D"),
        ("中", r"{\ifdefined\Umathcode 中\else U+4E2D\fi}"),
        ("a\nb\tc", "a b\tc"),
        ("\x1b[31m\udce9\u202e", "{[}31m"),
    ],
)
def test_hand_worked(text: str, latex: str) -> None:
    assert escape(text) == latex


@pytest.mark.parametrize("text", [GREEK, SIGNS, RAISED, LETTERS, TYPE])
def test_nothing_is_left_for_a_font_that_is_not_there(text: str) -> None:
    found = [(character, escape(character)) for character in text]
    assert all(latex.isascii() and r"\else" not in latex for _, latex in found), found
    assert all(latex for character, latex in found if unicodedata.category(character) != "Cf"), found


@pytest.mark.parametrize("text", [GREEK, SIGNS, RAISED, LETTERS, TYPE, BEYOND, "100 % & $x$ #1 _y_ {z} ~^ \\ [a]*b*"])
def test_braces_and_mathematics_are_closed(text: str) -> None:
    for character in text:
        bare = re.sub(r"\\[{}$\\]", "", escape(character))
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0, bare


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_pdflatex_takes_it(tmp_path: Path) -> None:
    texts = [GREEK, SIGNS, RAISED, LETTERS, TYPE, BEYOND, '100 % & $x$ #1 _y_ {z} ~^ \\ [a]*b* <|>`"', "a---b"]
    cells = " \\\\\n".join(rf"{escape(text)} & \textbf{{\boldmath {escape(text)}}}" for text in texts)
    caption = escape("".join(texts))
    table = rf"\begin{{table}}\caption{{{caption}}}\begin{{tabular}}{{lr}}{cells}\end{{tabular}}\end{{table}}"
    body = rf"\documentclass{{article}}\begin{{document}}\section*{{{caption}}}{table}\listoftables\end{{document}}"
    (tmp_path / "a.tex").write_text(body, encoding="utf-8")
    for _ in range(2):  # the second time with what the first wrote
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
