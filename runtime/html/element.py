"""HTML from Python calls, with everything escaped that is not markup already: models and environments wrote most of what is shown."""

from __future__ import annotations

from html import escape
from typing import TypeAlias

VOID = frozenset({"meta", "link", "img", "br", "hr", "source"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | list[Markup] | tuple[Markup, ...] | None"


def el(tag: str, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """`<tag a="b">children</tag>`.

    A final `_` of an attribute's name is dropped (`class_`), other `_` become `-`; None and False leave the attribute out.
    """
    words = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None and value is not False)
    if tag in VOID:
        return Markup(f"<{tag}{words}>")
    return Markup(f"<{tag}{words}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Children one after another, escaped where they are plain text."""
    return Markup("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, list | tuple):
        return "".join(child)
    return child if isinstance(child, Markup) else escape(_visible(child), quote=False)


def _attribute(name: str, value: str | float | bool) -> str:
    shown = "" if value is True else f'="{escape(_visible(str(value)))}"'
    return f" {name.rstrip('_').replace('_', '-')}{shown}"


def _visible(text: str) -> str:
    """Without control characters, which HTML forbids, and lone surrogates, which UTF-8 does."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
