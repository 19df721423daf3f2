"""Skills as HTML: Python with its colours, and what an attempt changed of the one before it."""

from __future__ import annotations

import difflib

from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType, is_token_subtype

from rlgpt.runtime.html.element import Markup, el, join

COLOURED: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "c"),
    (String, "s"),
    (Number, "n"),
    (Keyword, "k"),
    (Name.Function, "f"),
    (Name.Builtin, "b"),
)


def python(source: str) -> Markup:
    """Source as a block of highlighted Python."""
    return el("pre", el("code", [_token(kind, text) for kind, text in lex(source.rstrip() + "\n", PythonLexer(stripnl=False))]))


def changes(before: str, after: str) -> Markup:
    """The difference of two sources, line by line, with three lines around each change."""
    lines = difflib.unified_diff(before.rstrip().splitlines(), after.rstrip().splitlines(), lineterm="", n=3)
    shown = [_line(line) for line in list(lines)[2:]]
    return el("pre", el("code", shown), class_="diff") if shown else el("p", "The same code as before.", class_="note")


def counted(before: str, after: str) -> tuple[int, int]:
    """Lines added and removed between two sources."""
    lines = list(difflib.unified_diff(before.rstrip().splitlines(), after.rstrip().splitlines(), lineterm="", n=0))[2:]
    return sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)


def _line(line: str) -> Markup:
    kind = {"+": "add", "-": "del", "@": "at"}.get(line[:1])
    return el("span", line + "\n", class_=kind)


def _token(kind: _TokenType, text: str) -> Markup:
    style = next((name for family, name in COLOURED if is_token_subtype(kind, family)), None)
    return el("span", text, class_=style) if style else join(text)
