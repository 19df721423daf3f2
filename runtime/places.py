"""YAML with a memory: plain data, and for every value and key the line and column it stands at.

A loader that only returns data can say *what* is wrong with a scenario, not *where*; and it takes the second of two equal keys in
silence. This one walks PyYAML's node tree instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

MAX_NODES = 20_000
MAX_DEPTH = 40


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads `1e5` as YAML 1.2 does, and not, as YAML 1.1, as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass(frozen=True, order=True)
class Place:
    """Line and column, both from 1 as editors count."""

    line: int
    column: int


@dataclass(frozen=True)
class Fault:
    """What YAML itself finds wrong, at a place and a path."""

    place: Place
    path: Path
    message: str


@dataclass
class Document:
    """data: dicts, lists and scalars. values, keys: where the value, and the key before it, of a path stand."""

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Of the value (or the key) at `path`, or of the nearest thing around it that is in the file."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path) or Place(1, 1)


def read(text: str) -> Document:
    """Parse one YAML document. Never raises for its content: what is wrong is in `faults`."""
    document = Document()
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        document.faults.append(Fault(_place(mark), (), f"not YAML: {words}"))
        return document
    except yaml.YAMLError as error:
        document.faults.append(Fault(Place(1, 1), (), f"not YAML: {error}"))
        return document
    if node is not None:
        document.data = _Walk(document).value(node, ())
    return document


def scalar(text: str) -> Any:
    """The value of `--set key=TEXT`, as YAML; raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)


class _Walk:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.construct = _Loader("").construct_object
        self.count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.document.values[path] = _place(node.start_mark)
        self.count += 1
        # An alias is walked again at every use: a few nested ones make millions of values out of ten lines.
        if self.count > MAX_NODES or len(path) > MAX_DEPTH:
            if self.count <= MAX_NODES or self.count == MAX_NODES + 1:
                self._fault(node, path, f"too large: more than {MAX_NODES} values, or nested deeper than {MAX_DEPTH}")
            return None
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        try:
            return self.construct(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            self._fault(node, path, f"not readable: {getattr(error, 'problem', None) or error}")
            return None

    def _pairs(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, path, "a key has to be a plain word")
                continue
            # YAML 1.1 reads the key `on` as True; here a key is the text that stands there.
            key, place = str(key_node.value), _place(key_node.start_mark)
            here = (*path, key)
            if key in seen:
                self._fault(key_node, here, f"said twice (first in line {seen[key].line}); keep one of them")
                continue
            seen[key] = place
            self.document.keys[here] = place
            yield key, self.value(value_node, here)

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        self.document.faults.append(Fault(_place(node.start_mark), path, message))
