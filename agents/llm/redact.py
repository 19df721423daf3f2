"""Keys and tokens, kept out of everything that is written: transcripts, logs, the texts of exceptions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

MARK = "[redacted]"

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
# What providers' keys look like, for one that reaches us by another way than our own settings (an endpoint's error text, a model's answer).
_SECRET_SHAPE = re.compile(r"\b(sk-[A-Za-z0-9_\-]{16,}|AIza[A-Za-z0-9_\-]{30,}|gh[pousr]_[A-Za-z0-9]{30,})|(?<=Bearer )[A-Za-z0-9_.\-]{8,}")
_SHORTEST, _SHORTEST_UNASKED = 6, 12
"""Characters. A shorter 'secret' is not one, and hiding it would tear words apart; nobody vouches for what is found by its name alone."""


class Redactor:
    """Replaces secrets by `[redacted]`: the values of variables whose names say so, those given to `hide`, and what looks like a key."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        found = os.environ if environ is None else environ
        self._secrets: set[str] = set()
        for name, value in found.items():
            if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_UNASKED and not value.startswith("/"):
                self.hide(value)

    def hide(self, secret: str) -> None:
        if len(secret.strip()) >= _SHORTEST:
            self._secrets.add(secret.strip())

    def text(self, text: str) -> str:
        # The longest first: one secret may be the beginning of another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MARK)
        return _SECRET_SHAPE.sub(MARK, text)

    def data(self, value: Any) -> Any:
        """The same for everything inside lists and dicts, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.data(item) for item in value)
        return value
