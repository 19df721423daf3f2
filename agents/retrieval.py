"""Which skills of the library are shown for a sub-action: those for the same environment whose words are most like it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rlgpt.agents.library import Entry, code_hash
from rlgpt.bus.parts import Card, Skill, SubAction
from rlgpt.bus.task import Environment

SHOWN = 3
NEAR = 0.15
"""Cosine below which two purposes have nothing to do with each other."""
SAME_CARD = 1.25
"""Weight of an entry that was made for the very same card."""

_DULL = frozenset(re.findall(r"\w+", "a an and are as at be by for from has in into is it of on one or so that the this to when with"))


def candidates(
    entries: Iterable[Entry], spec: SubAction, goal: str, environment: Environment, card: Card, skills: Sequence[Skill], *, controller: bool
) -> list[Entry]:
    """The best few, the best first.

    skills      accepted in this plan; an entry that calls others is shown only if those are among them, unchanged
    controller  one that plays whole episodes is wanted, and nothing else will do; else nothing of that kind
    """
    here = {(skill.name, code_hash(skill.source)) for skill in skills}
    fitting = [
        entry
        for entry in entries
        if entry.about.kind == "skill"
        and (entry.about.name == "controller") is controller
        and entry.about.environment.id == environment.id
        and (entry.about.card.kind, entry.about.card.actions) == (card.kind, card.actions)
        and set(entry.about.needs.items()) <= here
    ]
    abouts = [entry.about for entry in fitting]
    texts = [_words(about.name, about.purpose, about.success, about.goal if controller else "") for about in abouts]
    wanted = _words(spec.name, spec.purpose, spec.success, goal if controller else "")
    rarity = _rarity([*texts, wanted])
    scored = []
    for entry, text in zip(fitting, texts, strict=True):
        likeness = _cosine(text, wanted, rarity) * (SAME_CARD if entry.about.card.version == card.version else 1.0)
        if likeness >= NEAR:
            scored.append((-likeness, entry.id, entry))
    return [entry for _, _, entry in sorted(scored, key=lambda item: item[:2])[:SHOWN]]


def _words(*texts: str) -> Counter[str]:
    found = re.findall(r"[a-z]+|\d+", " ".join(texts).lower().replace("_", " "))
    return Counter(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found if word not in _DULL)


def _rarity(texts: Sequence[Counter[str]]) -> dict[str, float]:
    """Inverse document frequency, smoothed."""
    seen = Counter(word for text in texts for word in text)
    return {word: math.log((1 + len(texts)) / (1 + number)) + 1 for word, number in seen.items()}


def _cosine(a: Counter[str], b: Counter[str], rarity: dict[str, float]) -> float:
    def weight(text: Counter[str]) -> dict[str, float]:
        return {word: (1 + math.log(number)) * rarity[word] for word, number in text.items()}

    first, second = weight(a), weight(b)
    norm = math.hypot(*first.values()) * math.hypot(*second.values())
    return sum(value * second.get(word, 0.0) for word, value in first.items()) / norm if norm else 0.0
