"""The critic: reads what happened, and says in words what to change."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, ClassVar, Literal

from rlgpt.agents import fields, pictures
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import PlanReviewAnswer, TrialReviewAnswer, check_plan_review, check_trial_review
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import AskPlanReview, AskTrialReview
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.messages import PlanReviewed, SkillReviewed, SkillTried, TrainingFinished
from rlgpt.bus.parts import Picture, SubActionReview


class Critic(Thinker):
    """Reviews every trial of a skill, and every plan once it was learned and evaluated."""

    role: ClassVar[str] = "critic"

    @handles(SkillTried)
    async def trial(self, trial: SkillTried) -> SkillReviewed | None:
        if not any(isinstance(request, AskTrialReview) for request in self.requests):
            return None
        shown, files = await self._look(trial)
        question = render("trial_review", **fields.trial_fields(self.state, trial, shown))
        key = f"plan-{trial.plan}/critic/{trial.name}/attempt-{trial.attempt}"
        review: dict[str, Any] = {"plan": trial.plan, "attempt": trial.attempt, "name": trial.name}
        try:
            answer = await self.ask(key, question, TrialReviewAnswer, check=check_trial_review, pictures=files)
        except QuestionFailed as failure:
            # The loop goes on by the success test alone, and the record says that it did.
            verdict: Literal["accept", "revise"] = "accept" if trial.success else "revise"
            return SkillReviewed(**review, verdict=verdict, why=f"by the success test alone, the critic had no answer: {failure}")
        self.log.info("skill_reviewed", skill=trial.name, attempt=trial.attempt, verdict=answer.verdict, why=answer.why)
        return SkillReviewed(**review, verdict=answer.verdict, why=answer.why, change=answer.change)

    async def _look(self, trial: SkillTried) -> tuple[list[Picture], list[bytes]]:
        """The pictures of a trial and their files; none where they cannot be had here, another machine's folder say."""
        try:
            return await asyncio.to_thread(pictures.shown, trial)
        except pictures.PictureUnreadable as error:
            self.log.warning("pictures_not_shown", skill=trial.name, attempt=trial.attempt, why=str(error))
            return [], []

    @handles(TrainingFinished)
    async def plan(self, result: TrainingFinished) -> PlanReviewed | None:
        if not any(isinstance(request, AskPlanReview) for request in self.requests):
            return None
        names = list(self.state.plans[result.plan].inner)
        try:
            answer = await self.ask(
                f"plan-{result.plan}/critic/plan",
                render("plan_review", **fields.plan_review_fields(self.state, result)),
                PlanReviewAnswer,
                check=partial(check_plan_review, names=names),
            )
        except QuestionFailed as failure:
            return PlanReviewed(plan=result.plan, why=f"no review: {failure}")
        self.log.info("plan_reviewed", plan=result.plan, why=answer.why)
        reviews = tuple(SubActionReview(**review.model_dump()) for review in answer.sub_actions)
        return PlanReviewed(plan=result.plan, sub_actions=reviews, why=answer.why, advice=answer.advice)
