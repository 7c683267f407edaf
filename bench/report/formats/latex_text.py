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
_TEXT = {
    **{"–": "textendash", "—": "textemdash", "…": "ldots", "•": "textbullet", "·": "textperiodcentered", "†": "dag"},
    **{"‡": "ddag", "§": "S", "¶": "P", "©": "copyright", "®": "textregistered", "™": "texttrademark", "£": "pounds"},
    **{"€": "texteuro", "¥": "textyen", "¢": "textcent", "°": "textdegree", "№": "textnumero", "‰": "textperthousand"},
    **{
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "ı": "i",
        "ȷ": "j",
    },
    **{"å": "aa", "Å": "AA", "¿": "textquestiondown", "¡": "textexclamdown", "ª": "textordfeminine"},
    **{"º": "textordmasculine", "¤": "textcurrency", "¦": "textbrokenbar", "\u00a0": "nobreakspace"},
    **{"\u2009": "thinspace", "\u202f": "thinspace", "‘": "textquoteleft", "’": "textquoteright"},
    **{"“": "textquotedblleft", "”": "textquotedblright"},
}
_PLAIN = {"‐": "-", "‑": "-", "⁄": "/", "\u00ad": r"\-"}
# Letters that the kernel's first encoding lacks and its second one has.
_T1 = {
    **{"đ": "dj", "Đ": "DJ", "ð": "dh", "Ð": "DH", "þ": "th", "Þ": "TH", "ŋ": "ng", "Ŋ": "NG"},
    **{
        "„": "quotedblbase",
        "‚": "quotesinglbase",
        "«": "guillemotleft",
        "»": "guillemotright",
        "‹": "guilsinglleft",
        "›": "guilsinglright",
    },
}
_MATH = {
    **{"±": "pm", "∓": "mp", "−": "-", "×": "times", "÷": "div", "∗": "ast", "⋆": "star", "∘": "circ", "⋅": "cdot"},
    **{
        "≤": "le",
        "≥": "ge",
        "≠": "ne",
        "≈": "approx",
        "≡": "equiv",
        "∼": "sim",
        "≃": "simeq",
        "≅": "cong",
        "∝": "propto",
    },
    **{"≪": "ll", "≫": "gg", "≺": "prec", "≻": "succ", "⊂": "subset", "⊆": "subseteq", "⊃": "supset", "⊇": "supseteq"},
    **{"∈": "in", "∉": "notin", "∋": "ni", "∪": "cup", "∩": "cap", "∅": "emptyset", "∖": "setminus", "∀": "forall"},
    **{"∃": "exists", "¬": "neg", "∧": "wedge", "∨": "vee", "⊕": "oplus", "⊖": "ominus", "⊗": "otimes", "⊙": "odot"},
    **{"∞": "infty", "∂": "partial", "∇": "nabla", "∑": "sum", "∏": "prod", "∫": "int", "√": "surd", "∥": "parallel"},
    **{"∣": "mid", "⊥": "perp", "⊤": "top", "⊢": "vdash", "∴": "therefore", "→": "rightarrow", "←": "leftarrow"},
    **{
        "↔": "leftrightarrow",
        "⇒": "Rightarrow",
        "⇐": "Leftarrow",
        "⇔": "Leftrightarrow",
        "↦": "mapsto",
        "↑": "uparrow",
    },
    **{"↓": "downarrow", "↕": "updownarrow", "⇑": "Uparrow", "⇓": "Downarrow", "⟶": "longrightarrow"},
    **{
        "⟵": "longleftarrow",
        "↗": "nearrow",
        "↘": "searrow",
        "↖": "nwarrow",
        "↙": "swarrow",
        "⟨": "langle",
        "⟩": "rangle",
    },
    **{
        "⌈": "lceil",
        "⌉": "rceil",
        "⌊": "lfloor",
        "⌋": "rfloor",
        "‖": "|",
        "′": "prime",
        "″": "prime\\prime",
        "ℓ": "ell",
    },
    **{"ℏ": "hbar", "ℜ": "Re", "ℑ": "Im", "ℵ": "aleph", "⋯": "cdots", "⋮": "vdots", "⋱": "ddots", "▲": "triangle"},
    **{"△": "triangle", "▽": "bigtriangledown", "◇": "diamond", "♠": "spadesuit", "♣": "clubsuit", "♥": "heartsuit"},
    **{
        "♦": "diamondsuit",
        "✓": "surd",
        "✔": "surd",
        "✗": "times",
        "✘": "times",
        "≜": "equiv",
        "≔": ":=",
        "∎": "diamond",
    },
}
_SAME_AS_LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
_GREEK_NAMES = {"ε": "varepsilon", "ϵ": "epsilon", "φ": "varphi", "ϕ": "phi", "ς": "varsigma", "ϑ": "vartheta"} | {
    **{"ϱ": "varrho", "ϖ": "varpi", "ϰ": "kappa", "µ": "mu", "λ": "lambda", "Λ": "Lambda", "Ω": "Omega"}
}
_ACCENTS = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0323\u0331",
        ("`", "'", "^", "~", "=", "u", ".", '"', "r", "H", "v", "c", "d", "b"),
        strict=True,
    )
)
_OGONEK = "\u0328"


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
        return f"${_MATH[character]}$" if _MATH[character] in ("-", ":=") else rf"$\{_MATH[character]}$"
    if character in _SAME_AS_LATIN:
        return _SAME_AS_LATIN[character]
    if character in _GREEK_NAMES:
        return rf"$\{_GREEK_NAMES[character]}$"
    words = unicodedata.name(character, "").split()
    if len(words) != 4 or words[:1] != ["GREEK"] or words[2] != "LETTER":
        return None
    return rf"$\{words[3].capitalize() if words[1] == 'CAPITAL' else words[3].lower()}$"


def _composed(character: str) -> str | None:
    """Return a character that Unicode takes apart: a letter with an accent, a raised or lowered one, a ligature."""
    kind, _, rest = unicodedata.decomposition(character).rpartition("> ")
    parts = [chr(int(code, 16)) for code in rest.split()]
    if not parts:
        return None
    inner = "".join(map(_character, parts[:1] if not kind else parts))
    if not kind:
        return _accented(inner, parts[1]) if len(parts) == 2 else inner
    raised = {"<super": "textsuperscript", "<sub": "textsubscript"}.get(kind)
    return rf"\{raised}{{{inner}}}" if raised else inner


def _accented(letter: str, accent: str) -> str | None:
    if accent == _OGONEK:
        return _in_t1(rf"\k{{{letter}}}")
    if accent not in _ACCENTS:
        return None
    if letter in ("i", "j") and accent not in "\u0323\u0327\u0331":  # the accent takes the place of the dot
        letter = rf"\{letter}"
    return rf"\{_ACCENTS[accent]}{{{letter}}}"


def _beyond(character: str) -> str:
    r"""Return a character for engines that have Unicode fonts (they know ``\Umathcode``), and its number for the others."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"):
        return ""
    return rf"{{\ifdefined\Umathcode {character}\else U+{ord(character):04X}\fi}}"
