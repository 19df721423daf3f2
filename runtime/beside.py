"""What a scenario names by a file or takes from a card: start states and words, put into its data before that becomes a task."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlgpt.envs import card_files
from rlgpt.envs.card_files import CardInvalid, Words

Complain = Callable[[tuple[str, ...], str, Any], None]
"""Called with the setting's path, what is expected, and its value."""

_TAKEN = re.compile(r"[^/]+ \d+")


def fill(data: dict[str, Any], folder: Callable[[tuple[str, ...]], Path], complain: Complain) -> None:
    """A file of start states, of the environment or an arena, becomes the artifact; a card's words stand in where the environment has none.

    folder  what a file named by this setting is relative to
    """
    arenas = data.get("arenas")
    for name, arena in arenas.items() if isinstance(arenas, dict) else ():
        for field in ("starts", "held_out"):
            _starts(arena, ("arenas", str(name), field), folder, complain)
    environment = data.get("environment")
    if not isinstance(environment, dict):
        return
    _starts(environment, ("environment", "starts"), folder, complain)
    if isinstance(environment.get("id"), str):
        _card(environment, folder, complain)


def _starts(settings: Any, place: tuple[str, ...], folder: Callable[[tuple[str, ...]], Path], complain: Complain) -> None:
    """The file that this setting names becomes its artifact."""
    from rlgpt.envs.errors import StartsInvalid
    from rlgpt.envs.starts import artifact

    name = settings.get(place[-1]) if isinstance(settings, dict) else None
    if not isinstance(name, str):
        return
    try:
        settings[place[-1]] = artifact(folder(place) / Path(name).expanduser()).model_dump(mode="json")
    except StartsInvalid as error:
        complain(place, str(error), name)
        settings[place[-1]] = None


def _card(environment: dict[str, Any], folder: Callable[[tuple[str, ...]], Path], complain: Complain) -> None:
    wanted, words = environment.get("card"), None
    kwargs = environment.get("kwargs")
    identifier, given = environment["id"], kwargs if isinstance(kwargs, dict) else {}
    if wanted is None:
        words = card_files.pick(identifier, given)
    elif not isinstance(wanted, str) or wanted in ("", card_files.NONE) or _TAKEN.fullmatch(wanted):
        return  # `name version` is what stands in a scenario that was resolved before, its words with it
    else:
        words = _own(wanted, folder(("environment", "card")) / Path(wanted).expanduser(), identifier, given, complain)
    if words is None:
        environment.pop("card", None)
        return
    environment["card"] = words.label
    for field, value in words.fields.items():
        if not environment.get(field):
            environment[field] = value


def _own(wanted: str, path: Path, identifier: str, kwargs: dict[str, Any], complain: Complain) -> Words | None:
    """A card that the scenario names: a file, or a bundled one by name."""
    bundled = card_files.bundled()
    try:
        card = bundled[wanted] if wanted in bundled else card_files.read(path)
    except CardInvalid as error:
        complain(("environment", "card"), f"{error}; bundled ones: {', '.join(bundled)}", wanted)
        return None
    return card_files.words_of(card, path.stem, identifier, kwargs)
