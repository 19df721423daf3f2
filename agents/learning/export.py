"""A trained policy as a skill: its network as plain numbers that a locked worker can run (see `envs/learned.py`)."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from rlgpt.agents.learning.endings import LearningFailed
from rlgpt.agents.learning.policy import SIGHT, actions_of, is_masked, perception
from rlgpt.bus.messages import ArenaRequested, TrainingRequested
from rlgpt.bus.parts import Artifact, Skill
from rlgpt.envs.episodes import Spaced
from rlgpt.envs.files import write_whole
from rlgpt.envs.learned import MEDIA_TYPE, Network
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.space import describe

_HIDDEN = "mlp_extractor.policy_net."
_LAST = "action_net"


def check_exportable(pool: Spaced, request: TrainingRequested) -> None:
    """Raises LearningFailed where a policy of these observations could not be a skill: pictures need more than a small network."""
    seen = perception(request, ObservationView(pool.observation_space)).space
    parts = seen.spaces.values() if isinstance(seen, spaces.Dict) else [seen]
    if any(len(part.shape or ()) == 3 and part.dtype == np.uint8 for part in parts):
        raise LearningFailed(
            f"what is learned in an arena becomes a skill, whose network takes numbers; the observations {pool.observation_space} hold "
            "pictures: leave this sub-action to the learner of the whole task, or wrap the environment so that it gives numbers",
            0,
        )


def network(request: TrainingRequested, weights: dict[str, torch.Tensor], pool: Spaced, until: str, *, greedy: bool) -> Network:
    """What a worker needs of a policy file's weights; `until` ends a call."""
    actions = actions_of(request, pool)
    statistics: dict[str, dict[str, list[float]]] = {}
    for name, part in (name.removeprefix(SIGHT).split(":", 1) for name in weights if name.startswith(SIGHT)):
        statistics.setdefault(part, {})[name] = weights[f"{SIGHT}{name}:{part}"].tolist()
    numbers = sorted({int(name.removeprefix(_HIDDEN).split(".")[0]) for name in weights if name.startswith(_HIDDEN)})
    names = [*(f"{_HIDDEN}{number}" for number in numbers), _LAST]
    layers = tuple((weights[f"{name}.weight"].numpy().T.copy(), weights[f"{name}.bias"].numpy().copy()) for name in names)
    return Network(
        observation=describe(pool.observation_space),
        action=describe(pool.action_space),
        words=request.environment.actions,
        primitives=request.primitives,
        skills=tuple(skill.name for skill in request.skills),
        masked=is_masked(request, actions),
        frames=request.learner.frame_stack,
        statistics=statistics,
        layers=layers,
        deviation=weights["log_std"].numpy().copy() if "log_std" in weights else np.zeros(0, np.float32),
        greedy=greedy,
        seed=request.seed,
        until=until,
    )


def as_skill(asked: ArenaRequested, found: Network, path: Path) -> Skill:
    """Write the network whole, and give it as the skill `asked.name`. Raises SkillInvalid where it is too large."""
    data = found.pack()
    write_whole(path, data)
    policy = Artifact(uri=path.resolve().as_uri(), sha256=hashlib.sha256(data).hexdigest(), media_type=MEDIA_TYPE)
    return Skill(name=asked.name, source=source(asked), max_steps=asked.arena.steps, policy=policy)


def source(asked: ArenaRequested) -> str:
    """The skill as others read it. What it does is in its network."""
    arena = asked.arena
    until = f", until {one_line(arena.success)}" if arena.success else ""
    words = f"{arena.purpose.strip()} A network learned in an arena of its own, {arena.actions}{until}, at most {arena.steps} steps."
    text = f'def {asked.name}(obs, info):\n    """{_quoted(words)}"""\n    return (yield from policy(obs, info))\n'
    if arena.can_run:
        text += f"\n\ndef can_run(obs, info):\n    return bool({one_line(arena.can_run)})\n"
    return text


def one_line(expression: str) -> str:
    """An expression without line breaks."""
    return ast.unparse(ast.parse(expression.strip(), mode="eval"))


def _quoted(words: str) -> str:
    return " ".join(words.split()).replace("\\", "/").replace('"', "'").strip()
