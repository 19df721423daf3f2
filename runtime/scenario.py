"""A scenario file, and `--set`, become a `Task`; or every mistake in them at once, each with its place, value and nearest valid name."""

from __future__ import annotations

import difflib
import importlib.resources
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rlgpt.bus.errors import Explained
from rlgpt.bus.models import Llm, Model
from rlgpt.bus.task import Task
from rlgpt.runtime import places
from rlgpt.runtime.beside import fill
from rlgpt.runtime.prices import with_user_prices

FILE = "scenario.yaml"
TRANSCRIPT = "transcript.jsonl"
SHORTHANDS = {"critic": "enabled"}
"""Settings that may be given as on/off: `critic: off` is `critic: {enabled: off}`."""


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands, the dotted key, the value there, what is expected, and a name that was perhaps meant.

    order   line and column, to sort by; those of `--set` come after the file's
    """

    where: str
    key: str
    expected: str
    value: Any = None
    nearest: str = ""
    order: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        value = "" if self.value is None else f" (here: {_short(self.value)})"
        nearest = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        key = f"{self.key}: " if self.key else ""
        return f"{self.where}: {key}{self.expected}{value}{nearest}"


class ScenarioInvalid(Explained):
    """Everything that is wrong with a scenario, a line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Scenario:
    """A task, where it was read from, and the recorded answers beside it (bytes of JSON lines), if there are any."""

    task: Task
    source: str
    overrides: tuple[str, ...] = ()
    transcript: bytes | None = None

    def resolved(self) -> str:
        """The whole task as YAML, defaults included, that `load` reads back."""
        origin = f"# {self.source}" + "".join(f"  --set {override}" for override in self.overrides)
        body = yaml.safe_dump(self.task.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
        return f"{origin}\n{body}"


def bundled() -> list[str]:
    """Names of the scenarios that come with the package."""
    folder = importlib.resources.files("rlgpt.scenarios")
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and (entry / FILE).is_file())


def load(which: str, overrides: Sequence[str] = ()) -> Scenario:
    """Read the scenario of a bundled name, a YAML file or a folder that holds one; raises ScenarioInvalid or PricesInvalid."""
    file, beside, label = _find(which)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioInvalid([Problem(label, "", f"cannot be read: {error}")]) from error
    task = _settled(with_user_prices(parse(text, label, overrides, file.parent if isinstance(file, Path) else None)))
    return Scenario(task, label, tuple(overrides), beside.read_bytes() if beside.is_file() else None)


def parse(text: str, label: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Task:
    """A task from YAML text; `label` is what errors call it, `folder` what its files are relative to (None: the present one).

    Raises ScenarioInvalid with every mistake.
    """
    reader = _Reader(places.read(text), label, folder or Path())
    for number, override in enumerate(overrides, start=1):
        reader.override(number, override)
    return reader.task()


def _settled(task: Task) -> Task:
    """The task with its folder of skills as an absolute path, since a run may be resumed from elsewhere."""
    if task.library.folder is None:
        return task
    folder = str(Path(task.library.folder).expanduser().resolve())
    return task.model_copy(update={"library": task.library.model_copy(update={"folder": folder})})


def _find(which: str) -> tuple[Traversable, Traversable, str]:
    """The scenario's file, the transcript beside it, and what to call the file."""
    path = Path(which).expanduser()
    if path.is_dir() and (path / FILE).is_file():
        path = path / FILE
    if path.is_file():
        return path, path.parent / TRANSCRIPT, str(path)
    names = bundled()
    if which in names:
        folder = importlib.resources.files("rlgpt.scenarios") / which
        return folder / FILE, folder / TRANSCRIPT, f"{which}/{FILE}"
    looks_like_path = "/" in which or which.endswith((".yaml", ".yml"))
    expected = "there is no such file" if looks_like_path else f"no such file, and no bundled scenario of this name ({', '.join(names)})"
    raise ScenarioInvalid([Problem(which, "", expected, nearest=_nearest(which, names))])


class _Reader:
    """One document with its overrides, on the way to a task."""

    def __init__(self, document: places.Document, label: str, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.label = label
        self.set_by: dict[places.Path, int] = {}
        self.problems: list[Problem] = []
        for fault in document.faults:
            self._problem(fault.path, fault.message, place=fault.place)
        self.data: Any = {} if document.data is None and not document.faults else document.data
        if self.data is not None and not isinstance(self.data, dict):
            self._problem((), "expected a mapping of settings", self.data)
            self.data = None

    def override(self, number: int, text: str) -> None:
        """Apply `a.b.c=value`; what is wrong with it is named `--set #number`."""
        dotted, equals, raw = text.partition("=")
        path = tuple(dotted.strip().split("."))
        if not equals or not all(path):
            self._set_problem(number, "", "expected key=value, such as trainer.env_steps=50000", text)
            return
        try:
            value = places.scalar(raw)
        except yaml.YAMLError as error:
            self._set_problem(number, dotted, f"not YAML: {getattr(error, 'problem', None) or error}", raw)
            return
        inner = self.data
        for i, part in enumerate(path[:-1]):
            if not isinstance(inner, dict):
                break
            if part in SHORTHANDS and isinstance(inner.get(part), bool):
                inner[part] = {SHORTHANDS[part]: inner[part]}
            if inner.get(part) is None:
                inner[part] = {}
                self.set_by[path[: i + 1]] = number
            inner = inner[part]
        if isinstance(inner, dict):
            inner[path[-1]] = value
            self.set_by[path] = number
        elif self.data is not None:
            self._set_problem(number, dotted, f"{_dotted(path[:-1])} has no settings inside it", inner)

    def task(self) -> Task:
        """The task, or ScenarioInvalid with everything found so far and everything pydantic finds."""
        if isinstance(self.data, dict):
            for key, inner in SHORTHANDS.items():
                if isinstance(self.data.get(key), bool):
                    self.data[key] = {inner: self.data[key]}
            self._check_roles()
            # What `--set` names is relative to where it was typed.
            fill(self.data, lambda path: Path() if path in self.set_by else self.folder, self._problem)
            try:
                task = Task.model_validate(self.data)
            except ValidationError as error:
                for item in error.errors():
                    self._take(item)
            else:
                if not self.problems:
                    return task
        raise ScenarioInvalid(sorted(self.problems, key=lambda problem: problem.order))

    def _check_roles(self) -> None:
        """A role's model settings, with the common ones. Faulty ones are put aside: `Llm` would blame the common ones."""
        llm = self.data.get("llm")
        roles = llm.get("roles") if isinstance(llm, dict) else None
        if not isinstance(llm, dict) or not isinstance(roles, dict):
            return
        common = {key: value for key, value in llm.items() if key in Model.model_fields}
        known = [str(role) for role in get_args(get_args(Llm.model_fields["roles"].annotation)[0])]
        before = len(self.problems)
        for role, own in roles.items():
            path: places.Path = ("llm", "roles", role)
            if role not in known:
                self._problem(path, f"expected {_one_of(known)}", nearest=_nearest(role, known), key=True)
                continue
            try:
                Model.model_validate({**common, **own} if isinstance(own, dict) else own)
            except ValidationError as error:
                for item in error.errors():
                    if not isinstance(own, dict) or item["loc"][0] in own:
                        self._take({**item, "loc": (*path, *item["loc"])})
        if len(self.problems) > before:
            self.data = {**self.data, "llm": {key: value for key, value in llm.items() if key != "roles"}}

    def _take(self, error: Any) -> None:
        """One of pydantic's errors."""
        path: places.Path = tuple(part for part in error["loc"] if part != "[key]")
        kind, value = error["type"], error.get("input")
        if kind == "extra_forbidden":
            names = _names(path[:-1])
            nearest = _nearest(str(path[-1]), names) or _elsewhere(str(path[-1]))
            known = "" if nearest else f" (known: {', '.join(names)})"
            self._problem(path, f"unknown setting{known}", value, nearest=nearest, key=True)
        elif kind == "missing":
            self._problem(path, "missing; this setting has no default")
        elif kind == "literal_error":
            options = re.findall(r"'([^']*)'", error["ctx"]["expected"])
            self._problem(path, f"expected {_one_of(options)}", value, nearest=_nearest(str(value), options))
        elif not path and (said := re.match(r"Value error, ([a-z_.]+): (.*)", str(error["msg"]), re.DOTALL)):
            # Settings that do not go together; the words begin with one of them.
            self._problem(tuple(said[1].split(".")), said[2])
        else:
            self._problem(path, _expected(error), value)

    def _problem(
        self,
        path: places.Path,
        expected: str,
        value: Any = None,
        *,
        nearest: str = "",
        key: bool = False,
        place: places.Place | None = None,
    ) -> None:
        for length in range(len(path), 0, -1):
            if place is None and path[:length] in self.set_by:
                self._set_problem(self.set_by[path[:length]], _dotted(path), expected, value, nearest)
                return
        at = place or self.document.place(path, key=key)
        self.problems.append(Problem(f"{self.label}:{at.line}:{at.column}", _dotted(path), expected, value, nearest, (at.line, at.column)))

    def _set_problem(self, number: int, key: str, expected: str, value: Any = None, nearest: str = "") -> None:
        self.problems.append(Problem(f"--set #{number}", key, expected, value, nearest, (sys.maxsize, number)))


def _expected(error: Any) -> str:
    kind, words = error["type"], str(error["msg"])
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"].startswith("^[a-z]["):
        return "expected lower-case letters, digits and _, beginning with a letter, at most 64"
    if kind == "string_pattern_mismatch":
        return "expected " + " or ".join(error["ctx"]["pattern"].strip("^$()").replace(r"(:\d+)?", "[:number]").split("|"))
    if kind in ("model_type", "model_attributes_type"):
        return f"expected a mapping of settings: {', '.join(_names(tuple(error['loc'])))}"
    if kind == "tuple_type":
        return "expected a list"
    if kind == "dict_type":
        return "expected a mapping"
    return words.replace("Input should be", "expected", 1).removeprefix("Value error, ")


def _names(path: places.Path) -> list[str]:
    """Valid names of the settings at `path`; empty where anything may stand."""
    if path[:2] == ("llm", "roles") and len(path) == 3:
        return list(Model.model_fields)
    model: type[BaseModel] = Task
    parts = iter(path)
    for part in parts:
        field = model.model_fields.get(str(part))
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        # Of a mapping, such as `arenas`, the next part is a name of the user's.
        if inner is None or (field and get_origin(field.annotation) is dict and next(parts, None) is None):
            return []
        model = inner
    return list(model.model_fields)


def _elsewhere(word: str) -> str:
    """A setting of another section: `env_steps` alone is perhaps `trainer.env_steps`."""
    dotted = {name: f"{section}.{name}" for section in reversed(Task.model_fields) for name in _names((section,))}
    return dotted.get(_nearest(word, list(dotted)), "")


def _nearest(word: str, names: Sequence[str]) -> str:
    return next(iter(difflib.get_close_matches(word, names, n=1, cutoff=0.55)), "")


def _one_of(options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def _dotted(path: places.Path) -> str:
    return ".".join(str(part) for part in path)


def _short(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 80 else words[:77] + "..."
