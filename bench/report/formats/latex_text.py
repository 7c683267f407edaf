r"""Text from outside as LaTeX that pdflatex takes with nothing but its kernel: markup escaped, other characters mapped.

Letters with accents become accents, superscripts ``\textsuperscript``, Greek letters and signs math; a character of a
script that pdflatex has no fonts for stands as itself for XeLaTeX and LuaLaTeX, and as its number for pdflatex.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_MARKUP = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    # After a line's \\ these two would be taken for its optional argument and its star.
    "[": "{[}",
    "*": "{*}",
}


def _pairs(table: str) -> dict[str, str]:
    """Return a table of characters, each followed by what stands for it."""
    words = table.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_TEXT = _pairs(
    r"""
    – textendash  — textemdash  … ldots  • textbullet  · textperiodcentered  † dag  ‡ ddag  § S  ¶ P  © copyright
    ® textregistered  ™ texttrademark  £ pounds  € texteuro  ¥ textyen  ¢ textcent  ° textdegree  № textnumero
    ‰ textperthousand  ß ss  æ ae  Æ AE  œ oe  Œ OE  ø o  Ø O  ł l  Ł L  ı i  ȷ j  å aa  Å AA  ¿ textquestiondown
    ¡ textexclamdown  ª textordfeminine  º textordmasculine  ¤ textcurrency  ¦ textbrokenbar  ‘ textquoteleft
    ’ textquoteright  “ textquotedblleft  ” textquotedblright
    """
) | {"\u00a0": "nobreakspace", "\u2009": "thinspace", "\u202f": "thinspace"}
_PLAIN = {"‐": "-", "‑": "-", "⁄": "/", "\u00ad": r"\-"}
# Letters that the kernel's first encoding lacks and its second one has.
_T1 = _pairs(
    """
    đ dj  Đ DJ  ð dh  Ð DH  þ th  Þ TH  ŋ ng  Ŋ NG  „ quotedblbase  ‚ quotesinglbase  « guillemotleft
    » guillemotright  ‹ guilsinglleft  › guilsinglright
    """
)
_MATH = _pairs(
    r"""
    ± pm  ∓ mp  × times  ÷ div  ∗ ast  ⋆ star  ∘ circ  ⋅ cdot  ≤ le  ≥ ge  ≠ ne  ≈ approx  ≡ equiv  ∼ sim  ≃ simeq
    ≅ cong  ∝ propto  ≪ ll  ≫ gg  ≺ prec  ≻ succ  ⊂ subset  ⊆ subseteq  ⊃ supset  ⊇ supseteq  ∈ in  ∉ notin  ∋ ni
    ∪ cup  ∩ cap  ∅ emptyset  ∖ setminus  ∀ forall  ∃ exists  ¬ neg  ∧ wedge  ∨ vee  ⊕ oplus  ⊖ ominus  ⊗ otimes
    ⊙ odot  ∞ infty  ∂ partial  ∇ nabla  ∑ sum  ∏ prod  ∫ int  √ surd  ∥ parallel  ∣ mid  ⊥ perp  ⊤ top  ⊢ vdash
    → rightarrow  ← leftarrow  ↔ leftrightarrow  ⇒ Rightarrow  ⇐ Leftarrow  ⇔ Leftrightarrow  ↦ mapsto  ↑ uparrow
    ↓ downarrow  ↕ updownarrow  ⇑ Uparrow  ⇓ Downarrow  ⟶ longrightarrow  ⟵ longleftarrow  ↗ nearrow  ↘ searrow
    ↖ nwarrow  ↙ swarrow  ⟨ langle  ⟩ rangle  ⌈ lceil  ⌉ rceil  ⌊ lfloor  ⌋ rfloor  ‖ |  ′ prime  ″ prime\prime
    ℓ ell  ℏ hbar  ℜ Re  ℑ Im  ℵ aleph  ⋯ cdots  ⋮ vdots  ⋱ ddots  ▲ triangle  △ triangle  ▽ bigtriangledown
    ◇ diamond  ♠ spadesuit  ♣ clubsuit  ♥ heartsuit  ♦ diamondsuit  ✓ surd  ✔ surd  ✗ times  ✘ times  ≜ equiv
    ∎ diamond
    α alpha  β beta  γ gamma  δ delta  ε varepsilon  ϵ epsilon  ζ zeta  η eta  θ theta  ϑ vartheta  ι iota  κ kappa
    ϰ kappa  λ lambda  μ mu  µ mu  ν nu  ξ xi  π pi  ϖ varpi  ρ rho  ϱ varrho  σ sigma  ς varsigma  τ tau  υ upsilon
    φ varphi  ϕ phi  χ chi  ψ psi  ω omega  Γ Gamma  Δ Delta  Θ Theta  Λ Lambda  Ξ Xi  Π Pi  Σ Sigma  Υ Upsilon
    Φ Phi  Ψ Psi  Ω Omega
    """
)
_BARE_MATH = {"−": "-", "≔": ":="}
_SAME_AS_LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
_ACCENTS = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0323\u0331",
        ("`", "'", "^", "~", "=", "u", ".", '"', "r", "H", "v", "c", "d", "b"),
        strict=True,
    )
)
_OGONEK = "\u0328"
_BEYOND = r"\ifdefined\Umathcode "


def escape(text: str) -> str:
    """Return `text` with everything that LaTeX would take for markup escaped, and what pdflatex doesn't know mapped."""
    # Hyphens are kept apart, or two of them would become a dash.
    return re.sub("-(?=-)", "-{}", "".join(map(_character, " ".join(text.splitlines()))))


@cache
def _character(character: str) -> str:
    if character in _MARKUP or character in _PLAIN:
        return (_MARKUP | _PLAIN)[character]
    if character.isascii():
        return character if character.isprintable() or character == "\t" else ""
    if character in _TEXT:
        return rf"\{_TEXT[character]}{{}}"
    if character in _T1:
        return _in_t1(rf"\{_T1[character]}{{}}")
    return _math(character) or _composed(character) or _beyond(character)


def _in_t1(text: str) -> str:
    return rf"{{\fontencoding{{T1}}\selectfont{text}}}"


def _math(character: str) -> str | None:
    if character in _MATH:
        return rf"$\{_MATH[character]}$"
    return f"${_BARE_MATH[character]}$" if character in _BARE_MATH else _SAME_AS_LATIN.get(character)


def _composed(character: str) -> str | None:
    """Return a character that Unicode takes apart: a letter with an accent, a raised or lowered one, a ligature."""
    kind, _, rest = unicodedata.decomposition(character).rpartition("> ")
    parts = [chr(int(code, 16)) for code in rest.split()]
    if not parts:
        return None
    inner = "".join(map(_character, parts[:1] if not kind else parts))
    if not kind:
        return _accented(inner, parts[1]) if len(parts) == 2 else inner
    if _BEYOND in inner:
        return None
    raised = {"<super": "textsuperscript", "<sub": "textsubscript"}.get(kind)
    return rf"\{raised}{{{inner}}}" if raised else inner


def _accented(letter: str, accent: str) -> str | None:
    if accent == _OGONEK and letter in "aAeEiIoOuU":
        return _in_t1(rf"\k{{{letter}}}")
    if accent not in _ACCENTS or not letter or _BEYOND in letter:
        return None
    if letter in ("i", "j") and accent not in "\u0323\u0327\u0331":  # the accent takes the place of the dot
        letter = rf"\{letter}"
    return rf"\{_ACCENTS[accent]}{{{letter}}}"


def _beyond(character: str) -> str:
    r"""Return a character for engines that have Unicode fonts (they know ``\Umathcode``), and its number for the others."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"):
        return ""
    return rf"{{{_BEYOND}{character}\else U+{ord(character):04X}\fi}}"
