"""A worker pool inside the test's own process: the same interface, in plain Python, one environment after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from rlgpt.envs.transitions import Call, Choice, EpisodeEnd, Transitions

SkillFunction = Callable[[Any, dict[str, Any]], Generator[Any, tuple[Any, dict[str, Any]], None]]


class LocalPool:
    """`make()` gives a Gymnasium environment; `skills` are generator functions; success is a function of (terminated, truncated).

    log  every environment step taken, as (environment, seed, action, reward): what the tests recompute from
    """

    lead_steps = 0  # nothing is played before its episodes

    def __init__(
        self,
        make: Callable[[], Any],
        environments: int,
        *,
        skills: Sequence[SkillFunction] = (),
        can_run: Sequence[Callable[[Any], bool] | None] = (),
        gamma: float = 0.99,
        limit: int = 10_000,
        record: bool = False,
        success: Callable[[bool, bool], bool] = lambda terminated, truncated: terminated,
    ) -> None:
        self.envs = [make() for _ in range(environments)]
        self.observation_space, self.action_space = self.envs[0].observation_space, self.envs[0].action_space
        self.skills, self.gamma, self.limit, self.record = skills, gamma, limit, record
        self.can_run = list(can_run) or [None] * len(skills)
        self.log: list[tuple[int, int, Any, float]] = []
        self.seeds = [0] * environments
        self.success, self.closed = success, False

    def reset(self, seeds: Sequence[int]) -> Transitions:
        self.obs = [self._begin(i, seed) for i, seed in enumerate(seeds)]
        n = len(self.envs)
        return self._transitions(list(self.obs), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), [None] * n, [""] * n)

    def _begin(self, i: int, seed: int) -> Any:
        self.seeds[i] = seed
        obs, _ = self.envs[i].reset(seed=seed)
        self.episodes = getattr(self, "episodes", [{} for _ in self.envs])
        self.episodes[i] = {"steps": 0, "return": 0.0, "actions": []}
        return obs

    def step(self, choices: Sequence[Choice], next_seeds: Sequence[int]) -> Transitions:
        n = len(self.envs)
        reward, duration, terminated, truncated = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
        ended: list[EpisodeEnd | None] = [None] * n
        faults, final = [""] * n, list(self.obs)
        for i, choice in enumerate(choices):
            actions = self.skills[choice.skill](self.obs[i], {}) if isinstance(choice, Call) else iter([choice.action])
            answer: Any = None
            try:
                while not (terminated[i] or truncated[i]) and duration[i] < self.limit:
                    action = actions.send(answer) if isinstance(choice, Call) else next(actions)
                    obs, r, over, cut, info = self.envs[i].step(action)
                    self.log.append((i, self.seeds[i], action, float(r)))
                    reward[i] += self.gamma ** duration[i] * r
                    duration[i] += 1
                    terminated[i], truncated[i], self.obs[i], answer = over, cut, obs, (obs, info)
                    self.episodes[i]["steps"] += 1
                    self.episodes[i]["return"] += float(r)
                    self.episodes[i]["actions"].append(action)
            except StopIteration:
                pass
            except RuntimeError as error:  # what a test's broken skill raises
                faults[i], truncated[i] = f"RuntimeError: {error}", True
            final[i] = self.obs[i]
            if terminated[i] or truncated[i]:
                episode = self.episodes[i]
                recorded = np.array(episode["actions"]) if self.record else None
                ended[i] = EpisodeEnd(
                    self.seeds[i],
                    bool(self.success(terminated[i], truncated[i])),
                    episode["return"],
                    episode["steps"],
                    not terminated[i],
                    recorded,
                )
                self.obs[i] = self._begin(i, next_seeds[i])
        return self._transitions(final, reward, duration, terminated, truncated, ended, faults)

    def _transitions(
        self, final: list[Any], reward: Any, duration: Any, terminated: Any, truncated: Any, ended: Any, faults: Any
    ) -> Transitions:
        runnable = [[test is None or test(obs) for test in self.can_run] for obs in self.obs]
        return Transitions(
            obs=_stack(self.obs),
            final_obs=_stack(final),
            reward=reward.astype(np.float32),
            duration=duration.astype(np.int32),
            terminated=terminated.astype(bool),
            truncated=truncated.astype(bool),
            runnable=np.array(runnable, bool).reshape(len(self.envs), len(self.skills)),
            ended=tuple(ended),
            faults=tuple(faults),
        )

    def close(self) -> None:
        self.closed = True


def _stack(rows: list[Any]) -> Any:
    if isinstance(rows[0], dict):
        return {key: _stack([row[key] for row in rows]) for key in rows[0]}
    if isinstance(rows[0], tuple):
        return tuple(_stack([row[i] for row in rows]) for i in range(len(rows[0])))
    return np.stack(rows)
