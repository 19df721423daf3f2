"""From a model's text to a typed answer: the JSON object in it, wherever it stands, validated."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

A = TypeVar("A", bound=BaseModel)

MOST_OBJECTS = 50
"""Braces tried as the beginning of the answer; prose and code hold some, an answer does not need more."""

# strict=False: models put real line breaks into JSON strings, above all where the string is a Python source.
_DECODER = json.JSONDecoder(strict=False)


class AnswerRejected(Exception):
    """The answer is well formed but cannot be right. Its text is told to the model."""


class Malformed(Exception):
    """No answer of the asked form is in the text. Its text is told to the model."""


def read(text: str, answer: type[A]) -> A:
    """The last object in `text` that is a valid `answer`: models think aloud, draft, and answer at the end. Raises Malformed."""
    if "{" not in text:
        raise Malformed(f"there is no JSON object in the reply, which begins {_excerpt(text, 0)}")
    best: tuple[int, Exception] | None = None
    valid: A | None = None
    for length, found in _objects(text):
        if isinstance(found, Exception):
            if best is None or length > best[0]:
                best = (length, found)
            continue
        try:
            valid = answer.model_validate(found)
        except ValidationError as error:
            if best is None or length > best[0]:
                best = (length, error)
    if valid is not None:
        return valid
    problem = best[1] if best else Malformed("no JSON object in the reply could be read")
    raise Malformed(_in_words(problem) if isinstance(problem, ValidationError) else str(problem)) from None


def _objects(text: str) -> list[tuple[int, dict[str, Any] | Malformed]]:
    """The outermost JSON objects of `text` with their lengths; where a brace begins none, the reason with length 0.

    An object that the text ends in the middle of reaches to its end: what is wrong is that, not the form of the objects inside it.
    """
    found: list[tuple[int, dict[str, Any] | Malformed]] = []
    at = text.find("{")
    while at >= 0 and len(found) < MOST_OBJECTS:
        try:
            value, end = _DECODER.raw_decode(text, at)
            json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip())
            reason = f"it is not valid JSON: {error.msg.removesuffix(' at')} at line {error.lineno}, near {_excerpt(text, error.pos - 30)}"
            found.append((len(text) - at if cut else 0, Malformed(f"{reason}; the text ends before the object does" if cut else reason)))
            end = at + 1
        except RecursionError:
            found.append((0, Malformed("it is not valid JSON: nested too deeply")))
            end = len(text)
        except UnicodeEncodeError:
            # A lone surrogate, such as "\ud800", is legal JSON and no legal text: it could not be written anywhere.
            found.append((0, Malformed("a string in it holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")))
            end = at + 1
        else:
            found.append((end - at, value))
        at = text.find("{", end)
    return found


def _in_words(error: ValidationError) -> str:
    """Pydantic's findings, one a line, with the place in the answer and the value."""
    lines = []
    for finding in error.errors(include_url=False)[:8]:
        place = ".".join(str(part) for part in finding["loc"]) or "the object"
        value = "" if finding["type"] == "missing" else f" (it is {_excerpt(repr(finding['input']), 0)})"
        lines.append(f"{place}: {finding['msg']}{value}")
    return "; ".join(lines)


def _excerpt(text: str, start: int, length: int = 80) -> str:
    start = max(start, 0)
    piece = text[start : start + length]
    return json.dumps(piece, ensure_ascii=False) + ("…" if start + length < len(text) else "")
