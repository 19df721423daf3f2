"""The slow agent: cuts the task into sub-actions, decides which are code and which are learned, and ends the run."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rlgpt.agents import fields
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import PlanAnswer, check_plan
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import AskPlan, Finish
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.messages import (
    BudgetSpent,
    DeadLettered,
    Message,
    PlanFailed,
    PlanProposed,
    PlanReviewed,
    ReviewMissed,
    RunFinished,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    SubAction,
    TaskSubmitted,
    TrainingFinished,
)


class Slow(Thinker):
    """Plans at the beginning and after each reviewed plan below the target; says RunFinished when the loops end."""

    role: ClassVar[str] = "slow"

    # A budget can run out at any step of the ring, and then it is the slow agent that ends the run.
    @handles(
        TaskSubmitted,
        PlanFailed,
        PlanProposed,
        PlanReviewed,
        SkillTried,
        SkillReviewed,
        SkillFailed,
        SkillSettled,
        TrainingFinished,
        BudgetSpent,
        ReviewMissed,
        DeadLettered,
    )
    async def advance(self, _event: Message) -> list[Message]:
        answers: list[Message] = []
        for request in self.requests:
            if isinstance(request, AskPlan):
                answers.append(await self.plan(request.plan))
            elif isinstance(request, Finish):
                answers.append(self.finish(request))
        return answers

    async def plan(self, number: int) -> PlanProposed | PlanFailed:
        task = self.state.task
        if task.mode == "rl-only":
            # Nothing to decide, so no model is asked: the whole task is the one thing to learn.
            whole = SubAction(name="whole_task", purpose=task.goal, mode="rl", success=task.success, reason="mode is rl-only")
            return PlanProposed(plan=number, sub_actions=(whole,), rationale="rl-only: the learner has the primitive actions alone")
        question = render("plan", **fields.plan_fields(self.state, number))
        try:
            answer = await self.ask(f"plan-{number}/slow", question, PlanAnswer, check=partial(check_plan, mode=task.mode))
        except QuestionFailed as failure:
            return PlanFailed(plan=number, reason=str(failure))
        sub_actions = tuple(SubAction(**sub_action.model_dump()) for sub_action in answer.sub_actions)
        self.log.info("plan_proposed", plan=number, sub_actions=[f"{s.name}:{s.mode}" for s in sub_actions])
        return PlanProposed(plan=number, sub_actions=sub_actions, rationale=answer.rationale)

    def finish(self, request: Finish) -> RunFinished:
        best = self.state.plans[self.state.best].result if self.state.best is not None else None
        self.log.info("run_finished", outcome=request.outcome, why=request.reason, best_plan=self.state.best)
        return RunFinished(
            outcome=request.outcome,
            reason=request.reason,
            plan=self.state.best,
            score=best.score if best else None,
            policy=best.policy if best else None,
        )
