"""Ids of events as runs: `6f1c-1`, `6f1c-2`, `6f1c-3` are one run of three.

Almost all ids are a publisher's `<incarnation>-<counter>`, in order. The journal keeps which ids it has as runs, a row for each instead of
an index entry for each event, and looks a whole frame of publications up at once. It is exact for any other id too: that is a run of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

PLAIN = -1  # `first` of an id that ends in no number: the prefix is all of it
DIGITS = 15  # longer numbers are left in the prefix: they would not fit SQLite's integers


class Run(NamedTuple):
    """`many` ids: prefix + str(first), prefix + str(first + 1), ..."""

    prefix: str
    first: int
    many: int

    def ids(self) -> list[str]:
        if self.first == PLAIN:
            return [self.prefix]
        return [f"{self.prefix}{number}" for number in range(self.first, self.first + self.many)]


def split(id: str) -> tuple[str, int]:
    """The prefix up to the last `-`, and the number behind it; PLAIN if there is none, or one that is not written as `str` writes it."""
    digits = id.rpartition("-")[2]
    if len(digits) == len(id) or len(digits) > DIGITS or not (digits.isascii() and digits.isdecimal()):
        return id, PLAIN
    if digits[0] == "0" and len(digits) > 1:
        return id, PLAIN
    return id[: -len(digits)], int(digits)


def runs(ids: Sequence[str]) -> Iterator[Run]:
    """The ids as runs, in their order."""
    index, end = 0, len(ids)
    while index < end:
        prefix, first = split(ids[index])
        begin = index
        index += 1
        if first != PLAIN:
            offset = first - begin
            while index < end and ids[index] == f"{prefix}{offset + index}":
                index += 1
        yield Run(prefix, first, index - begin)
