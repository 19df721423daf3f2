"""A finished policy, or a controller, scored once more: on other seeds, more of them, or with actions chosen the other way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gymnasium import spaces

from rlgpt.agents.learning.evaluation import Player, controller, score
from rlgpt.agents.learning.learner import play_and_verify
from rlgpt.agents.learning.practice import evaluated_in
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Score
from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.space import restore
from rlgpt.envs.trial import describe

Sees = Literal["numbers", "pictures", "numbers and pictures", "what its code reads"]


@dataclass(frozen=True)
class Again:
    """score; sees: what the player decides from."""

    score: Score
    sees: Sees


@dataclass(frozen=True)
class _Spaces:
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]


def again(request: TrainingRequested, weights: dict[str, Any] | None, alive: Callable[[], bool] = lambda: True) -> Again:
    """Play the evaluation that `request` asks for: with these weights (of a policy file), or its controller where they are None.

    Raises what `learner.HOPELESS` names, and Stopped where `alive` says so.
    """
    player, names, sees = player_of(request, weights)
    played, verified = play_and_verify(request, player, alive)
    return Again(score(request, played, names, verified), sees)


def player_of(request: TrainingRequested, weights: dict[str, Any] | None) -> tuple[Player, list[str], Sees]:
    """Who plays, names of what is chosen, and what the player decides from."""
    return _code(request) if weights is None else _policy(request, weights)


def _code(request: TrainingRequested) -> tuple[Player, list[str], Sees]:
    names = [skill.name for skill in request.skills]
    if request.controller not in names:
        raise SkillInvalid(f"there is neither a policy nor a controller among the skills ({', '.join(names) or 'there are none'})")
    return controller(names.index(request.controller)), [request.controller], "what its code reads"


def _policy(request: TrainingRequested, weights: dict[str, Any]) -> tuple[Player, list[str], Sees]:
    from rlgpt.agents.learning.policy import actions_of, load_player

    described = describe(evaluated_in(request))
    found = _Spaces(restore(described.observation_space), restore(described.action_space))
    view = ObservationView(found.observation_space)
    parts = view.space.spaces.values() if isinstance(view.space, spaces.Dict) else [view.space]
    pictures = [part.shape is not None and len(part.shape) == 3 for part in parts]
    sees: Sees = "pictures" if all(pictures) else "numbers and pictures" if any(pictures) else "numbers"
    return load_player(request, weights, found), list(actions_of(request, found).names), sees
