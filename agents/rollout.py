"""The rollout agent: tries drafted skills in the real environment, in a sandboxed worker."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rlgpt.agents.agent import Agent, handles
from rlgpt.bus.messages import SkillDrafted, SkillTried
from rlgpt.envs.errors import SkillInvalid, WorkerDied
from rlgpt.envs.trial import try_skill


class Rollout(Agent):
    """Several of them share the work; each trial runs in a worker of its own."""

    role: ClassVar[str] = "rollout"

    @handles(SkillDrafted)
    async def trial(self, draft: SkillDrafted) -> SkillTried:
        """One call of the skill from the start of an episode, for every seed."""
        try:
            episodes = await asyncio.to_thread(
                try_skill, draft.environment, draft.skill, draft.library, success=draft.success, seeds=draft.seeds
            )
        except (SkillInvalid, WorkerDied) as error:
            self.log.info("skill_not_tried", skill=draft.skill.name, attempt=draft.attempt, why=str(error))
            return SkillTried(
                plan=draft.plan, attempt=draft.attempt, name=draft.skill.name, success=False, episodes=(), env_steps=0, error=str(error)
            )
        successes = sum(episode.success for episode in episodes)
        self.log.info("skill_tried", skill=draft.skill.name, attempt=draft.attempt, successes=successes, episodes=len(episodes))
        return SkillTried(
            plan=draft.plan,
            attempt=draft.attempt,
            name=draft.skill.name,
            success=successes == len(episodes),
            episodes=tuple(episodes),
            env_steps=sum(episode.steps for episode in episodes),
        )
