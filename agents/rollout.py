"""The rollout agent: tries drafted skills in the real environment, in a sandboxed worker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy.typing as npt

from rlgpt.agents import drawing
from rlgpt.agents.agent import Agent, Context, handles
from rlgpt.bus.messages import SkillDrafted, SkillTried
from rlgpt.bus.parts import Picture, TrialEpisode
from rlgpt.bus.task import Environment
from rlgpt.envs.camera import CannotDraw
from rlgpt.envs.errors import SkillInvalid, WorkerDied
from rlgpt.envs.trial import Trials


def passed(draft: SkillDrafted, episodes: Sequence[TrialEpisode]) -> bool:
    """Whether enough episodes succeeded. With fewer episodes than seeds, a call had to be killed, and the draft has failed."""
    return len(episodes) == len(draft.seeds) and sum(episode.success for episode in episodes) >= (draft.needed or len(draft.seeds))


class Rollout(Agent):
    """Several of them share the work; each trial runs in a worker of its own. The environment stays imported between trials."""

    role: ClassVar[str] = "rollout"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._open: tuple[Environment, Trials] | None = None

    @handles(SkillDrafted)
    async def trial(self, draft: SkillDrafted) -> SkillTried:
        """One call of the skill from the start of an episode, for every seed."""
        taken: dict[int, npt.NDArray[Any]] = {}
        try:
            episodes, led = await asyncio.to_thread(self._try, draft, taken)
        except (SkillInvalid, WorkerDied) as error:
            self.log.info("skill_not_tried", skill=draft.skill.name, attempt=draft.attempt, why=str(error))
            return SkillTried(
                plan=draft.plan, attempt=draft.attempt, name=draft.skill.name, success=False, episodes=(), env_steps=0, error=str(error)
            )
        drawn = await self._draw(draft, episodes, taken)
        successes = sum(episode.success for episode in episodes)
        self.log.info("skill_tried", skill=draft.skill.name, attempt=draft.attempt, successes=successes, episodes=len(episodes))
        return SkillTried(
            plan=draft.plan,
            attempt=draft.attempt,
            name=draft.skill.name,
            success=passed(draft, episodes),
            episodes=tuple(episodes),
            env_steps=sum(episode.steps for episode in episodes) + led,
            **drawn,
        )

    async def _draw(
        self, draft: SkillDrafted, episodes: Sequence[TrialEpisode], taken: Mapping[int, npt.NDArray[Any]]
    ) -> dict[str, tuple[Picture, ...] | str]:
        """Pictures of the trial, where the critic is to have some; or why there are none. That is no reason to fail the trial."""
        most = self.state.task.critic.pictures if self.state.critic_asked else 0
        if not most:
            return {}
        try:
            return {"pictures": await asyncio.to_thread(drawing.draw, draft, episodes, taken, most, self.context.folder)}
        except CannotDraw as error:
            self.log.warning("trial_not_drawn", skill=draft.skill.name, attempt=draft.attempt, why=str(error))
            return {"no_pictures": str(error)}

    def _try(self, draft: SkillDrafted, taken: dict[int, npt.NDArray[Any]]) -> tuple[list[TrialEpisode], int]:
        """The episodes, and the environment steps that were played before them."""
        if self._open is None or self._open[0] != draft.environment:
            self._close()
            self._open = (draft.environment, Trials(draft.environment))
        trials = self._open[1]
        before = trials.lead_steps
        try:
            episodes = trials.run(draft.skill, draft.library, draft.success, draft.seeds, taken=taken)
            return episodes, trials.lead_steps - before
        except WorkerDied:
            self._close()  # what killed it may have been the process that all workers are forked from
            raise

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def leaving(self) -> None:
        self._close()
