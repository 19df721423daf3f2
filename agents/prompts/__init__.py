"""The words the models are given: Markdown files beside this one, with `{{name}}` where something is filled in."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

_HOLE = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")


class PromptError(Exception):
    """A prompt that does not exist, or one that was filled in with too little or too much."""


def names() -> list[str]:
    """All prompts, by the names `render` takes."""
    return sorted(entry.name.removesuffix(".md") for entry in files(__name__).iterdir() if entry.name.endswith(".md"))


@cache
def template(name: str) -> str:
    """A prompt as it is written. Raises PromptError."""
    try:
        return (files(__name__) / f"{name}.md").read_text(encoding="utf-8").strip()
    except OSError:
        nearest = get_close_matches(name, names(), n=1)
        raise PromptError(f"no prompt {name!r}" + (f"; nearest: {nearest[0]!r}" if nearest else f"; there are {names()}")) from None


def render(name: str, /, **fields: str) -> str:
    """A prompt, filled in. Values go in as they are, braces and all; a hole without a value, or a value without a hole, is an error."""
    text = template(name)
    holes = set(_HOLE.findall(text))
    if holes != fields.keys():
        missing, unknown = sorted(holes - fields.keys()), sorted(fields.keys() - holes)
        raise PromptError(f"prompt {name!r}: not filled in: {missing}; not in it: {unknown}")
    for blank in (hole for hole in holes if not fields[hole].strip()):
        # An empty value takes its line along, and the empty one after it.
        text = re.sub(rf"(?m)^\{{\{{\s*{blank}\s*\}}\}}\n*", "", text)
    return _HOLE.sub(lambda hole: fields[hole[1]].strip("\n"), text).strip()


def tokens(text: str) -> int:
    """What a text costs, roughly: four characters a token."""
    return -(-len(text) // 4)
