"""The critic: reads what happened, and says in words what to change."""

from __future__ import annotations

from typing import ClassVar

from rlgpt.agents import words
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import PlanReviewAnswer, TrialReviewAnswer
from rlgpt.agents.llm import QuestionFailed
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import AskPlanReview, AskTrialReview
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.messages import PlanReviewed, SkillReviewed, SkillTried, SubActionReview, TrainingFinished


class Critic(Thinker):
    """Reviews every trial of a skill, and every plan once it was learned and evaluated."""

    role: ClassVar[str] = "critic"

    @handles(SkillTried)
    async def trial(self, trial: SkillTried) -> SkillReviewed | None:
        if not any(isinstance(request, AskTrialReview) for request in self.requests):
            return None
        question = render("trial_review", **words.trial_fields(self.state, trial))
        key = f"plan-{trial.plan}/critic/{trial.name}/attempt-{trial.attempt}"
        review = {"plan": trial.plan, "attempt": trial.attempt, "name": trial.name}
        try:
            answer = await self.ask(key, question, TrialReviewAnswer)
        except QuestionFailed as failure:
            # The loop goes on by the success test alone, and the record says that it did.
            verdict = "accept" if trial.success else "revise"
            return SkillReviewed.model_validate({**review, "verdict": verdict, "why": f"by the success test alone: {failure}"})
        self.log.info("skill_reviewed", skill=trial.name, attempt=trial.attempt, verdict=answer.verdict, why=answer.why)
        return SkillReviewed.model_validate({**review, **answer.model_dump()})

    @handles(TrainingFinished)
    async def plan(self, result: TrainingFinished) -> PlanReviewed | None:
        if not any(isinstance(request, AskPlanReview) for request in self.requests):
            return None
        question = render("plan_review", **words.plan_review_fields(self.state, result))
        try:
            answer = await self.ask(f"plan-{result.plan}/critic/plan", question, PlanReviewAnswer)
        except QuestionFailed as failure:
            return PlanReviewed(plan=result.plan, why=f"no review: {failure}")
        self.log.info("plan_reviewed", plan=result.plan, why=answer.why)
        reviews = tuple(SubActionReview(**review.model_dump()) for review in answer.sub_actions)
        return PlanReviewed(plan=result.plan, sub_actions=reviews, why=answer.why, advice=answer.advice)
