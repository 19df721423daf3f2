"""Cards as files: the words that tell models of an environment, and a toolkit, picked by the environment's id. Data only.

Bundled ones lie in `envs/cards/`; a scenario names one of its own with `environment.card`. What a scenario says itself comes before them.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from rlgpt.bus.parts import Part
from rlgpt.bus.task import Host

NONE = "none"


class CardInvalid(Exception):
    """A card file that cannot be read; the text names the file, the place and what is expected."""


class Matching(Part):
    """Which environments something holds for.

    environments  patterns of ids, such as `MiniGrid-*`; empty: any
    kwargs        that the environment is made with, the card's `defaults` included
    unless        kwargs that must not be given
    """

    environments: tuple[str, ...] = ()
    kwargs: dict[str, Any] = Field({})
    unless: tuple[str, ...] = ()

    def fits(self, name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """`name` is the environment's id, `given` its kwargs."""
        every = {**defaults, **given}
        named = not self.environments or any(fnmatchcase(name, pattern) for pattern in self.environments)
        return named and all(every.get(key) == value for key, value in self.kwargs.items()) and not set(self.unless) & set(given)


class Variant(Matching):
    """Notes that are added where it fits."""

    notes: str = Field(min_length=1)


class CardFile(Matching):
    """One card. `version` counts up whenever it says something else; the other fields are those of `task.Environment`.

    defaults  values of kwargs that are not given, for `kwargs` here and in the variants
    variants  notes for some of its environments only
    """

    version: int = Field(ge=1)
    defaults: dict[str, Any] = Field({})
    actions: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    notes: str = ""
    toolkit: str = ""
    host: Host | None = None
    variants: tuple[Variant, ...] = ()


@dataclass(frozen=True)
class Words:
    """What a card says of one environment; `label` is its name and version."""

    label: str
    fields: dict[str, Any]


def parse(text: str, name: str) -> CardFile:
    """A card from YAML text; `name` is what errors call it. Raises CardInvalid."""
    try:
        return CardFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise CardInvalid(f"card {name}: not YAML: {error}") from None
    except ValidationError as error:
        known = ", ".join(CardFile.model_fields)
        faults = [f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()]
        raise CardInvalid(f"card {name}: {'; '.join(faults)} (a card has: {known})") from None


def read(path: Path) -> CardFile:
    """A user's card. Raises CardInvalid."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CardInvalid(f"card {path}: cannot be read: {error}") from None


@cache
def bundled() -> dict[str, CardFile]:
    """The cards that come with the package, by name."""
    folder = importlib.resources.files("rlgpt.envs.cards")
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return {entry.name.removesuffix(".yaml"): parse(entry.read_text(encoding="utf-8"), entry.name) for entry in found}


def pick(name: str, kwargs: Mapping[str, Any]) -> Words | None:
    """What the bundled card for this environment says; None if there is no card for it."""
    bare = name.rpartition(":")[2]
    for label, card in bundled().items():
        if card.fits(bare, kwargs, card.defaults):
            return words_of(card, label, bare, kwargs)
    return None


def words_of(card: CardFile, label: str, name: str, kwargs: Mapping[str, Any]) -> Words:
    """What a card says of this environment, its variants taken in."""
    bare = name.rpartition(":")[2]
    notes = [card.notes.strip(), *(v.notes.strip() for v in card.variants if v.fits(bare, kwargs, card.defaults))]
    fields: dict[str, Any] = {"actions": list(card.actions), "observations": list(card.observations), "toolkit": card.toolkit}
    if card.host is not None:
        fields["host"] = card.host.model_dump(mode="json", exclude_defaults=True) or {"python": ""}
    fields["notes"] = "\n".join(part for part in notes if part)
    return Words(f"{label} {card.version}", {key: value for key, value in fields.items() if value})
