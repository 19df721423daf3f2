"""Policies that act: while they are evaluated, and read back from a file long after the learning."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy

from rlgpt.agents.learning.devices import obs_to_device
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Artifact
from rlgpt.envs.episodes import Spaced
from rlgpt.envs.files import write_whole
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.options import SkillActions
from rlgpt.envs.perception import Perception
from rlgpt.envs.transitions import Choice, Observations

Policy = ActorCriticPolicy | MaskableActorCriticPolicy
SIGHT = "sight:"
BLOCKED = "blocked"
"""How the statistics of observations are named among a policy file's weights."""
MEDIA_TYPE = "application/vnd.rlgpt.policy+pytorch"


class PolicyPlayer:
    """A trained network as a decision maker: observations in, choices for the pool out. Call as `player(obs, runnable, fresh)`.

    sight   its own, since it may remember the episodes under way; statistics in it are used as they are
    greedy  take the likeliest choice instead of drawing one
    seed    of torch's generator, which the drawing uses, set here: the same seed and episodes give the same choices
    blocked [S] skills that are never chosen
    """

    def __init__(
        self,
        policy: Policy,
        actions: SkillActions,
        sight: Perception,
        *,
        masked: bool,
        greedy: bool,
        seed: int,
        blocked: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._policy, self._actions, self._sight, self._masked, self._greedy = policy, actions, sight, masked, greedy
        self._blocked = False if blocked is None else blocked
        policy.set_training_mode(False)
        torch.manual_seed(seed)

    def __call__(
        self, obs: Observations, runnable: npt.NDArray[np.bool_], fresh: npt.NDArray[np.bool_] | None = None
    ) -> tuple[list[Choice], npt.NDArray[np.int64]]:
        """Choices [B] and what each is, as an index into the actions' names; `fresh` [B]: an episode begins here (None: all)."""
        runnable = runnable & ~np.asarray(self._blocked)
        more: dict[str, Any] = {"action_masks": self._actions.mask(runnable)} if self._masked else {}
        with torch.no_grad():
            tensors = obs_to_device(self._sight.see(obs, fresh, learn=False), self._policy.device)
            actions, _, _ = self._policy(tensors, deterministic=self._greedy, **more)
        return self._actions.decode(actions.cpu().numpy(), runnable)


def is_masked(request: TrainingRequested, actions: SkillActions) -> bool:
    """Whether the policy masks its choices: some skill has a `can_run`, and the action space can be masked."""
    conditional = any("def can_run" in skill.source for skill in request.skills)
    return conditional and actions.mask(np.ones((1, len(request.skills)), bool)) is not None


def actions_of(request: TrainingRequested, pool: Spaced) -> SkillActions:
    """The learner's actions under this request. Raises ActionsUnsupported."""
    return SkillActions.of(pool.action_space, [skill.name for skill in request.skills], request.primitives, request.environment.actions)


def perception(request: TrainingRequested, view: ObservationView) -> Perception:
    """How a policy of this request sees; with statistics of nothing."""
    return Perception(view, frames=request.learner.frame_stack, normal=request.learner.normalize_observations)


def save_policy(
    path: Path, policy: Policy, request: TrainingRequested, sight: Perception, blocked: npt.NDArray[np.bool_] | None = None
) -> Artifact:
    """One file: the weights, and as JSON the request they were learned under, which is all that is needed to build the network again.

    Among the weights are the statistics of observations as `sight:...`, and `blocked`, the skills that were set aside.
    """
    buffer = io.BytesIO()
    weights = {name: tensor.detach().cpu() for name, tensor in policy.state_dict().items()}
    for key, part in sight.state().items():
        weights |= {f"{SIGHT}{name}:{key}": torch.tensor(values, dtype=torch.float64) for name, values in part.items()}
    if blocked is not None:
        weights[BLOCKED] = torch.from_numpy(blocked.copy())
    torch.save({"format": "rlgpt-policy-1", "request": request.model_dump_json(), "weights": weights}, buffer)
    write_whole(path, buffer.getvalue())
    return Artifact(uri=path.resolve().as_uri(), sha256=hashlib.sha256(buffer.getvalue()).hexdigest(), media_type=MEDIA_TYPE)


def read_policy(data: bytes, sha256: str | None = None) -> tuple[TrainingRequested, dict[str, torch.Tensor]]:
    """Request and weights of a policy file; runs no code from it. Raises ValueError where the bytes are not those of `sha256`."""
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"the policy's bytes have sha256 {found}, not {sha256}: the file was changed after the run, or cut short")
    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != "rlgpt-policy-1":
        raise ValueError("no rlgpt policy file (its format is not 'rlgpt-policy-1')")
    return TrainingRequested.model_validate(json.loads(content["request"])), content["weights"]


def load_player(request: TrainingRequested, weights: dict[str, torch.Tensor], pool: Spaced) -> PolicyPlayer:
    """A policy file's content as a decision maker on a pool made for the same request."""
    actions, view = actions_of(request, pool), ObservationView(pool.observation_space)
    masked = is_masked(request, actions)
    kind = (MaskablePPO if masked else PPO).policy_aliases[view.policy]
    # Weights come from the file; the optimiser that every stable-baselines3 policy builds is never stepped.
    sight, statistics = perception(request, view), dict[str, dict[str, Any]]()
    for name, part in (name.removeprefix(SIGHT).split(":", 1) for name in weights if name.startswith(SIGHT)):
        statistics.setdefault(part, {})[name] = weights[f"{SIGHT}{name}:{part}"].tolist()
    sight.restore(statistics)
    policy = kind(sight.space, actions.space, lambda _: 0.0, net_arch=list(request.learner.hidden))
    policy.load_state_dict({name: tensor for name, tensor in weights.items() if name != BLOCKED and not name.startswith(SIGHT)})
    blocked = weights[BLOCKED].numpy() if BLOCKED in weights else None
    greedy = request.evaluation.actions == "greedy"
    return PolicyPlayer(cast(Policy, policy), actions, sight, masked=masked, greedy=greedy, seed=request.seed, blocked=blocked)
