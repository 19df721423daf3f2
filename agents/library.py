"""The skill library: accepted skills and policies of earlier runs, in a folder that people can read.

    <folder>/<environment>/<id>/about.yaml    what it is for, how it was tried, where it comes from
                                skill.py      its source, or policy.pt: the policy file of the trainer

Nothing in it is ever executed from here: a skill that is taken over goes to a worker, as a draft, like any other model-written code.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, ValidationError

from rlgpt.agents.repeats import normal_form
from rlgpt.bus.errors import Explained
from rlgpt.bus.parts import Card, Part
from rlgpt.bus.task import Environment, Task
from rlgpt.envs.files import write_whole

ABOUT, SKILL, POLICY = "about.yaml", "skill.py", "policy.pt"
FOLDER_VARIABLE = "RLGPT_LIBRARY"

log = structlog.get_logger()


class LibraryError(Explained):
    """An entry or folder of the library that is not there, or cannot be read or written; the message says which."""


class Trial(Part):
    """How it did once: in `run`, as attempt `attempt` of plan `plan` (0: the evaluation of a policy), written by `model`."""

    run: str
    scenario: str
    plan: int
    attempt: int
    successes: int
    episodes: int
    model: str = ""
    date: str = ""


class CardOf(Part):
    """What the card was, of the environment it was made for."""

    version: str
    kind: str
    actions: tuple[str, ...] = ()


class About(Part):
    """What `about.yaml` holds.

    goal       of the task, or the stage of it, that it was made for
    success    test it passed
    needs      names of skills it calls, with the `code_hash` of each
    max_steps  environment steps of one call; 0 for a policy
    trials     every time it was tried as it is, the first one first
    """

    name: str
    kind: Literal["skill", "policy"]
    purpose: str
    goal: str
    success: str
    environment: Environment
    card: CardOf
    max_steps: int = 0
    needs: dict[str, str] = Field(default_factory=dict)
    trials: tuple[Trial, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Entry:
    """One thing of the library. `source` is empty for a policy."""

    id: str
    path: Path
    about: About
    source: str = ""


def place(given: str | None = None) -> Path:
    """Where the library lies: the scenario's folder, else $RLGPT_LIBRARY, else ~/.local/share/rlgpt/library."""
    return Path(given or os.environ.get(FOLDER_VARIABLE) or "~/.local/share/rlgpt/library").expanduser()


def bare_environment(environment: Environment) -> Environment:
    """The environment without what differs between runs and stages."""
    return environment.model_copy(update={"starts": None, "until_success": False})


def code_hash(source: str) -> str:
    """Of Python, whatever its comments and layout."""
    return hashlib.sha256(normal_form(source).encode()).hexdigest()[:8]


def skill_id(name: str, source: str, success: str, environment: Environment) -> str:
    """Name and a short hash: the same code for the same test in the same environment is the same entry."""
    key = "\n".join((environment.id, normal_form(success), normal_form(source)))
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


class Library:
    """A folder of entries. It need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, task: Task) -> Library:
        return cls(place(task.library.folder))

    def entries(self) -> Iterator[Entry]:
        """All that can be read, by environment and id; what cannot is named in the log."""
        for path in sorted(self.folder.glob(f"*/*/{ABOUT}")):
            try:
                yield _read(path.parent)
            except LibraryError as error:
                log.warning("library_entry_unreadable", path=str(path.parent), why=str(error))

    def find(self, entry_id: str) -> Entry:
        """Raises LibraryError."""
        found = sorted(self.folder.glob(f"*/{entry_id}/{ABOUT}")) if re.fullmatch(r"[A-Za-z0-9_.\-]+", entry_id) else []
        if not found:
            names = sorted(path.parent.name for path in self.folder.glob(f"*/*/{ABOUT}"))
            alike = [name for name in names if name.partition("-")[0] == entry_id.partition("-")[0]]
            near = ", ".join((alike or names)[:8]) or "nothing"
            raise LibraryError(f"the library {self.folder} has no {entry_id!r} (there: {near})")
        return _read(found[0].parent)

    def keep(self, entry_id: str, about: About, content: bytes) -> Entry:
        """Add an entry, or the trial of `about` to one that is there already. Raises LibraryError."""
        path = self.folder / _folder_name(about.environment) / entry_id
        try:
            if (path / ABOUT).is_file():
                before = _read(path).about
                told = {(one.run, one.plan, one.attempt) for one in before.trials}
                trials = (*before.trials, *(one for one in about.trials if (one.run, one.plan, one.attempt) not in told))
                write_whole(path / ABOUT, _yaml(before.model_copy(update={"trials": trials})))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                fresh = Path(tempfile.mkdtemp(prefix=f".{entry_id}.", dir=path.parent))
                (fresh / (SKILL if about.kind == "skill" else POLICY)).write_bytes(content)
                (fresh / ABOUT).write_bytes(_yaml(about))
                try:
                    fresh.rename(path)
                except OSError:
                    shutil.rmtree(fresh)
                    if not (path / ABOUT).is_file():  # else another run has just kept the same
                        raise
            return _read(path)
        except OSError as error:
            raise LibraryError(f"{path} cannot be written: {error.strerror or error}") from error

    def remove(self, entry_id: str) -> Path:
        """Delete an entry; returns where it was. Raises LibraryError."""
        path = self.find(entry_id).path
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise LibraryError(f"{path} cannot be removed: {error.strerror or error}") from error
        return path

    def export(self, entry_id: str, to: Path) -> Path:
        """Copy an entry into the folder `to`; returns the copy. Raises LibraryError."""
        entry = self.find(entry_id)
        copy = to / entry.id
        try:
            shutil.copytree(entry.path, copy)
        except OSError as error:
            raise LibraryError(f"{entry.id} cannot be copied to {copy}: {error.strerror or error}") from error
        return copy


def card_of(card: Card) -> CardOf:
    return CardOf(version=card.version, kind=card.kind, actions=card.actions)


def _read(path: Path) -> Entry:
    import yaml

    try:
        about = About.model_validate(yaml.safe_load((path / ABOUT).read_text(encoding="utf-8")))
        source = (path / SKILL).read_text(encoding="utf-8") if about.kind == "skill" else ""
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise LibraryError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return Entry(path.name, path, about, source)


def _yaml(about: About) -> bytes:
    import yaml

    fields = about.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120).encode(errors="backslashreplace")


def _folder_name(environment: Environment) -> str:
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", environment.id).strip(".") or "environment"
