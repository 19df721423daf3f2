"""Environments with skills, as stable-baselines3 sees them: a VecEnv over the worker pool. One step of it is one decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
from typing_extensions import override

from rlgpt.envs.episodes import Pool
from rlgpt.envs.observations import Learnable, ObservationView
from rlgpt.envs.options import Bools, SkillActions
from rlgpt.envs.perception import Perception
from rlgpt.envs.transitions import Transitions


class SkillVecEnv(VecEnv):
    """B environments whose actions contain skills.

    `decide` is the learner's own way in, since stable-baselines3's step has no room for durations. The VecEnv methods are for its other
    parts and for users' own algorithms; there an info carries `duration`, `terminal_observation`, `TimeLimit.truncated` and `episode`.

    sight    what the policy sees: the view's observations, perhaps normalised and stacked (see `Perception`)
    blocked  [S] bool  skills that may not be chosen any more, whatever their can_run says (quarantine)
    offered  [B, S] bool  skills that could be chosen in the last decision, `runnable` those in the next
    """

    def __init__(
        self,
        pool: Pool,
        actions: SkillActions,
        view: ObservationView,
        seeds: Iterator[int],
        *,
        environments: int,
        skills: int,
        sight: Perception | None = None,
    ) -> None:
        self.pool, self.actions, self.view, self.seeds = pool, actions, view, seeds
        self.sight = sight or Perception(view)
        self.blocked: Bools = np.zeros(skills, bool)
        self.runnable: Bools = np.ones((environments, skills), bool)
        self.offered = self.runnable
        self.chosen: npt.NDArray[np.int64] = np.zeros(environments, np.int64)
        self._next_seeds: list[int] = []
        self._pending: npt.NDArray[Any] = np.zeros(0)
        super().__init__(environments, self.sight.space, actions.space)

    def reset(self) -> Any:
        """Fresh episodes everywhere, from the next seeds; returns the learner's observations."""
        first = [next(self.seeds) for _ in range(self.num_envs)]
        self._next_seeds = [next(self.seeds) for _ in range(self.num_envs)]
        transitions = self.pool.reset(first)
        self.runnable = transitions.runnable & ~self.blocked
        return self.sight.see(transitions.obs, None, learn=True)

    def decide(self, actions: npt.NDArray[Any]) -> Transitions:
        """One decision in every environment; what each was stays in `chosen` (index into `actions.names`)."""
        choices, self.chosen = self.actions.decode(actions, self.runnable)
        self.offered = self.runnable
        transitions = self.pool.step(choices, self._next_seeds)
        for i in np.flatnonzero(transitions.terminated | transitions.truncated):
            self._next_seeds[i] = next(self.seeds)
        self.runnable = transitions.runnable & ~self.blocked
        return transitions

    def block(self, skill: int) -> None:
        """From now on this skill cannot be chosen."""
        self.blocked[skill] = True
        self.runnable = self.runnable & ~self.blocked

    def masks(self) -> Bools | None:
        """[B, n] choices that can be made now, None where the space cannot be masked."""
        return self.actions.mask(self.runnable)

    def close(self) -> None:
        self.pool.close()

    # ------------------------------------------------------------ stable-baselines3's own interface

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        self._pending = actions

    def step_wait(self) -> VecEnvStepReturn:
        transitions = self.decide(self._pending)
        done = transitions.terminated | transitions.truncated
        last, ended = self.sight.ends(transitions.final_obs, np.flatnonzero(done)), np.cumsum(done) - 1
        infos: list[dict[str, Any]] = []
        for i, end in enumerate(transitions.ended):
            info: dict[str, Any] = {"duration": int(transitions.duration[i])}
            if done[i]:
                info["terminal_observation"] = row(last, int(ended[i]))
                info["TimeLimit.truncated"] = bool(transitions.truncated[i] and not transitions.terminated[i])
            if end is not None:
                info["episode"] = {"r": end.episode_return, "l": end.steps, "t": 0.0}
                info["is_success"] = end.success
            infos.append(info)
        return self.sight.see(transitions.obs, done, learn=True), transitions.reward, done, infos

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        count = len(list(self._get_indices(indices)))
        if attr_name == "render_mode":
            return [None] * count
        if attr_name == "action_masks" and self.masks() is not None:
            return [self.masks] * count
        raise AttributeError(f"environments live in worker processes; SkillVecEnv offers no attribute {attr_name!r} of theirs")

    @override
    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"environments live in worker processes; their attribute {attr_name!r} cannot be set from here")

    @override
    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        masks = self.masks() if method_name == "action_masks" else None
        if masks is None:
            raise AttributeError(f"environments live in worker processes; SkillVecEnv offers no method {method_name!r} of theirs")
        return [masks[i] for i in self._get_indices(indices)]

    @override
    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def row(batch: Learnable, index: int) -> Any:
    """One environment's part of a batch."""
    if isinstance(batch, dict):
        return {key: part[index] for key, part in batch.items()}
    return batch[index]
